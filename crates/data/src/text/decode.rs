//! From the bytes of a file to text.

use std::borrow::Cow;

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoText {
    /// They begin with UTF-16's byte order mark, or every other one is zero as in English text in UTF-16.
    Utf16,
    /// Neither UTF-8 nor Latin-1.
    Other,
}

/// The text that `bytes` are in UTF-8, with or without byte order mark.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, NoText> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let zeros = [0, 1].map(|first| bytes.iter().skip(first).step_by(2).filter(|&&byte| byte == 0).count());
    // Half of all bytes in English, and none of the others; other binary files have zeros everywhere.
    let alternate = 4 * zeros[0].abs_diff(zeros[1]) > bytes.len();
    if marked || alternate {
        return Err(NoText::Utf16);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoText::Other)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The text that `bytes` are in UTF-8 or else in Latin-1, which has no printed character between 80 and 9f.
pub(super) fn utf8_or_latin1(bytes: &[u8]) -> Result<Cow<'_, str>, NoText> {
    match utf8(bytes) {
        Err(NoText::Other) if !bytes.iter().any(|byte| (0x80..=0x9f).contains(byte)) => {
            Ok(bytes.iter().copied().map(char::from).collect::<String>().into())
        }
        read => read.map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_and_latin1_are_read() {
        assert_eq!(utf8_or_latin1("\u{feff}café".as_bytes()).unwrap(), "café");
        assert_eq!(utf8_or_latin1(b"caf\xe9").unwrap(), "café");
    }

    #[test]
    fn every_other_encoding_is_refused() {
        let utf16: Vec<u8> = "the dog".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf8_or_latin1(&utf16), Err(NoText::Utf16));
        assert_eq!(utf8_or_latin1(b"\xff\xfet\0h\0e\0"), Err(NoText::Utf16));
        assert_eq!(utf8_or_latin1(b"\x80\x02\0\0\0\0\0\0"), Err(NoText::Other), "zeros everywhere");
        // Windows-1252 with its quotes, which Latin-1 does not have.
        assert_eq!(utf8_or_latin1(b"\x93the dog\x94"), Err(NoText::Other));
        assert_eq!(utf8(b"caf\xe9"), Err(NoText::Other));
    }
}
