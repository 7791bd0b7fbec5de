//! Errors with their causes, for logs and other edges: an error tells itself alone, its cause comes after it.

use std::error::Error;
use std::fmt;

/// An error as people read it.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Chain, ServeError, chain};
///
/// fn told(error: &ServeError) -> Chain<'_> {
///     chain(error)
/// }
/// # drop(told);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

/// The error and all its causes, joined by colons. Errors say nothing of their causes themselves, so that each is told
/// once; this is for where they leave the program.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{BodyError, chain};
///
/// let error = BodyError::Read(std::io::Error::other("disk is gone"));
/// assert_eq!(error.to_string(), "body could not be read");
/// assert_eq!(chain(&error).to_string(), "body could not be read: disk is gone");
/// ```
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::BodyError;
    use crate::server::ServeError;
    use crate::topic::WriteError;

    #[test]
    fn an_error_is_told_with_all_its_causes_and_each_of_them_once() {
        let disk = || BodyError::Read(std::io::Error::other("disk is gone"));
        assert_eq!(chain(&disk()).to_string(), "body could not be read: disk is gone");
        let written = WriteError::Publish(Box::new(disk()));
        let told = "message was not published: body could not be read: disk is gone";
        assert_eq!(chain(&written).to_string(), told);
        assert_eq!(chain(&ServeError::Broker(Box::new(written))).to_string(), format!("broker failed: {told}"));
        assert_eq!(chain(&ServeError::NotIdle).to_string(), "server serves already or was shut down");
    }
}
