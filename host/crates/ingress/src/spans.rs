//! The parts of a text in JSON as they were written: numbers keep their digits, and nothing is sorted.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A text that is read from its beginning to its end.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// The members of an object: each name, and its value as it was written.
pub(crate) fn members(text: &str) -> Result<Vec<(String, &str)>, String> {
    let mut reader = Reader { text, at: 0 };
    let mut found: Vec<(String, &str)> = Vec::new();
    reader.list('{', '}', |reader| {
        let (name, _) = reader.value::<String>()?;
        if found.iter().any(|(other, _)| *other == name) {
            return Err(format!("member {name:?} is there twice"));
        }
        reader.expect(':')?;
        let (_, value) = reader.value::<IgnoredAny>()?;
        found.push((name, value));
        Ok(())
    })?;
    Ok(found)
}

/// The elements of an array as they were written.
pub(crate) fn elements(text: &str) -> Result<Vec<&str>, String> {
    let mut reader = Reader { text, at: 0 };
    let mut found = Vec::new();
    reader.list('[', ']', |reader| {
        let (_, value) = reader.value::<IgnoredAny>()?;
        found.push(value);
        Ok(())
    })?;
    Ok(found)
}

impl<'a> Reader<'a> {
    /// Reads everything between two brackets, with commas between its parts, and nothing behind them.
    fn list(
        &mut self,
        open: char,
        close: char,
        mut part: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(open)?;
        if !self.take(close) {
            loop {
                part(self)?;
                if self.take(close) {
                    break;
                }
                self.expect(',')?;
            }
        }
        self.skip();
        if self.at < self.text.len() { Err(format!("something follows the end at byte {}", self.at)) } else { Ok(()) }
    }

    /// Reads a value, and gives it with its text.
    fn value<T: Deserialize<'a>>(&mut self) -> Result<(T, &'a str), String> {
        self.skip();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                let read = values.byte_offset();
                self.at += read;
                Ok((value, rest.get(..read).unwrap_or_default()))
            }
            Some(Err(error)) => Err(format!("{error}, counted from byte {}", self.at)),
            None => Err("it ends too early".to_owned()),
        }
    }

    fn skip(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, letter: char) -> bool {
        self.skip();
        let is_it = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(letter));
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, letter: char) -> Result<(), String> {
        if self.take(letter) { Ok(()) } else { Err(format!("{letter:?} is missing at byte {}", self.at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_given_as_they_were_written() {
        let text = " { \"a\\u0062\" : 1.50e3 ,\"b\":[1, 2],\n\"c\":{\"d\":\"}\"}, \"e\":12345678901234567890123 } ";
        let expected = [("ab", "1.50e3"), ("b", "[1, 2]"), ("c", "{\"d\":\"}\"}"), ("e", "12345678901234567890123")];
        let found = members(text).unwrap();
        assert_eq!(found.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(), expected);
        assert_eq!(members("{}").unwrap(), []);
    }

    #[test]
    fn elements_are_given_as_they_were_written() {
        assert_eq!(elements("[ {\"a\":1} , 2,\"x\" ]").unwrap(), ["{\"a\":1}", "2", "\"x\""]);
        assert_eq!(elements("[]").unwrap(), [""; 0]);
    }

    /// Texts that are almost right are taken if, and only if, serde_json takes them.
    #[test]
    fn what_is_json_is_what_serde_says_is_json() {
        type Object = std::collections::HashMap<String, IgnoredAny>;
        let mut random = fastrand::Rng::with_seed(7);
        let text = r#" {"a" :1.5e+3,"b\"":[true ,null,{}],"c":"x,}\u00e4", "d":{"e":[[]]} } "#;
        let letters: Vec<char> = " \t{}[],:\"\\0123456789.eE+-truefalsn".chars().collect();
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut changed: Vec<char> = text.chars().collect();
            for _ in 0..random.usize(0..3) {
                let at = random.usize(0..changed.len());
                match random.u8(0..3) {
                    0 => drop(changed.remove(at)),
                    1 => changed.insert(at, letters[random.usize(0..letters.len())]),
                    _ => changed[at] = letters[random.usize(0..letters.len())],
                }
            }
            let object: String = changed.into_iter().collect();
            let own = members(&object);
            let serde = serde_json::from_str::<Object>(&object);
            let is_twice = own.as_ref().is_err_and(|fault| fault.contains("twice"));
            // Only here a member may not be there twice, which is told before faults that come later.
            assert!(is_twice || own.is_ok() == serde.is_ok(), "{object}: {own:?}");
            let list = format!("[{object}, 1]");
            assert_eq!(elements(&list).is_ok(), serde_json::from_str::<Vec<IgnoredAny>>(&list).is_ok(), "{list}");
            taken += usize::from(own.is_ok());
        }
        assert!((1_000..19_000).contains(&taken), "{taken} of them are right");
    }

    #[test]
    fn anything_that_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}x",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[1]",
            "{\"a\":1,\"a\":2}",
        ] {
            assert!(members(text).is_err(), "{text}");
        }
        for text in ["", "[", "[1,]", "[1 2]", "[1]]", "{}", "[nul]", "[01]", "[1]1"] {
            assert!(elements(text).is_err(), "{text}");
        }
    }
}
