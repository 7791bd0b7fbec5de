//! Message authentication codes: HMAC with SHA-256, compared in constant time.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The length of a code, in bytes.
pub(super) const CODE_BYTES: usize = 32;

/// A secret, ready to be used.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(secret: &[u8]) -> Self {
        // A longer secret is hashed first, as the method has it.
        let mut block = [0; 64];
        let hashed;
        let secret = if secret.len() > block.len() {
            hashed = <Sha256 as sha2::Digest>::digest(secret);
            hashed.as_slice()
        } else {
            secret
        };
        block.iter_mut().zip(secret).for_each(|(byte, given)| *byte = *given);
        Self(Hmac::new(&block.into()))
    }

    /// The code of some bytes in a row.
    fn code(&self, parts: &[&[u8]]) -> [u8; CODE_BYTES] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether one of these codes is that of some bytes in a row. All are compared, each in constant time.
    pub(super) fn fits(&self, parts: &[&[u8]], codes: &[Vec<u8>]) -> bool {
        let own = self.code(parts);
        codes.iter().fold(false, |fits, code| bool::from(own.as_slice().ct_eq(code)) | fits)
    }

    /// Whether a text is the secret. Codes of both are compared, so that not even its length shows.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        let purpose = b"wasmpost bearer";
        let codes = [self.code(&[purpose]), Self::new(text).code(&[purpose])];
        bool::from(codes[0].ct_eq(&codes[1]))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

/// The bytes that a text in hexadecimal stands for, if it is a code.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * CODE_BYTES || !text.is_ascii() {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let pairs = pairs.iter().map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    // A sign would be taken for part of a number.
    let byte = |pair: &str| if pair.contains('+') { None } else { u8::from_str_radix(pair, 16).ok() };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases 1 and 6 of RFC 4231: a short key, and one that is longer than a block.
    #[test]
    fn codes_are_those_of_the_standard() {
        let short = Key::new(&[0x0b; 20]);
        let code = from_hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7").unwrap();
        assert!(short.fits(&[b"Hi ", b"There"], &[vec![0; 32], code.clone()]));
        assert!(!short.fits(&[b"Hi There!"], &[code]));
        let long = Key::new(&[0xaa; 131]);
        let code = from_hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54").unwrap();
        assert!(long.fits(&[b"Test Using Larger Than Block-Size Key - Hash Key First"], &[code]));
    }

    #[test]
    fn a_code_is_read_from_hexadecimal_and_from_nothing_else() {
        assert_eq!(from_hex(&"0aF0".repeat(16)).unwrap(), [0x0a, 0xf0].repeat(16));
        for text in ["", "00", &"g0".repeat(32), &"+1".repeat(32), &"00".repeat(33), &"é".repeat(32)] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn printing_a_key_shows_no_secret() {
        assert_eq!(format!("{:?}", Key::new(b"hunter2")), "Key");
    }
}
