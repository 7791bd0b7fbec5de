//! The JSON API.

pub(super) mod body;
pub(super) mod groups;
pub(super) mod health;
pub(super) mod letter;
pub(super) mod letters;
pub(super) mod logs;
pub(super) mod messages;
pub(super) mod queues;
pub(super) mod receivers;
pub(super) mod selection;
pub(super) mod tasks;
pub(super) mod tenants;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::Problem;

/// The most rows of a page, and how many there are unless another number is asked for.
const PAGE_MAX: usize = 200;
const PAGE: usize = 50;

/// How many rows a page has that asks for so many.
fn page_size(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(PAGE),
        Some(max @ 1..=PAGE_MAX) => Ok(max),
        Some(_) => Err(Problem::invalid(format!("max is from 1 to {PAGE_MAX}; ask on with the cursor"))),
    }
}

/// The place where the next page begins: a name, and a number behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    name: String,
    number: u64,
}

impl Cursor {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self::default()) };
        let unknown = || Problem::invalid("cursor is not one that this API gave");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
        let text = String::from_utf8(bytes).map_err(|_| unknown())?;
        let (number, name) = text.split_once(' ').ok_or_else(unknown)?;
        Ok(Self { name: name.to_owned(), number: number.parse().map_err(|_| unknown())? })
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {}", self.number, self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor { name: "@acme/or ders".into(), number: 7 };
        assert_eq!(Cursor::read(Some(&cursor.write())), Ok(cursor));
        assert_eq!(Cursor::read(None), Ok(Cursor::default()));
        for bad in ["", "!", "YQ", "LTEgYQ"] {
            assert_eq!(Cursor::read(Some(bad)).unwrap_err().status, 400, "{bad}");
        }
        assert!(page_size(Some(0)).is_err() && page_size(Some(201)).is_err() && page_size(Some(200)).is_ok());
    }
}
