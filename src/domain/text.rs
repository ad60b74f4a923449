//! Free text that people write (descriptions, owners, attribute values): bounded and free of
//! characters that deceive a reader or that one of the two databases cannot hold.

use super::Invalid;

/// Checks a line of text of at most `max_chars` characters.
///
/// # Errors
/// When it is too long, or holds a control character (NUL included, which PostgreSQL cannot store)
/// or a bidirectional or zero-width formatting character (which make one name look like another).
pub fn line(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    if text.chars().count() > max_chars {
        return Err(Invalid::new(
            field,
            format!("is longer than {max_chars} characters"),
        ));
    }
    match text.chars().find(|&c| c.is_control() || deceives(c)) {
        Some(c) => Err(Invalid::new(
            field,
            format!(
                "holds the character U+{:04X}, which is not allowed here",
                u32::from(c)
            ),
        )),
        None => Ok(text.to_owned()),
    }
}

/// Like [`line()`], and not blank.
///
/// # Errors
/// As [`line()`], or when nothing but white space is left.
pub fn filled_line(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = line(field, text.trim(), max_chars)?;
    if text.is_empty() {
        Err(Invalid::new(field, "is empty"))
    } else {
        Ok(text)
    }
}

/// True for zero-width, bidirectional and line-separating characters (Unicode UAX #9 and UTS #39).
#[must_use]
pub fn deceives(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        // Fillers that show as nothing, interlinear annotations, and the tag characters, in which a whole hidden text fits.
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceiving_characters_are_refused_and_named() {
        assert_eq!(
            line("owner", "ann\u{202e}bob", 64)
                .expect_err("refused")
                .to_string(),
            "owner: holds the character U+202E, which is not allowed here"
        );
        for bad in [
            "a\0b",
            "a\nb",
            "a\u{200b}b",
            "a\u{feff}",
            "a\u{1b}[31m",
            "a\u{e0041}",
            "\u{3164}",
        ] {
            assert!(line("owner", bad, 64).is_err(), "{bad:?} was accepted");
        }
        assert!(line("owner", &"x".repeat(65), 64).is_err());
        assert!(filled_line("owner", "   ", 64).is_err());
        assert_eq!(
            filled_line("owner", " Équipe A ", 64).expect("good"),
            "Équipe A"
        );
    }
}
