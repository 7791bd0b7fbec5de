//! Each rule is seen to fail.
