//! Decorators: receivers around receivers, topics around topics.
