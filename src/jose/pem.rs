//! Textual key files (RFC 7468): the blocks of a text by label. Decoding only finds the bytes; `jwk` and `key`
//! interpret them.

use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// One block of a key file.
#[derive(PartialEq, Eq)]
pub struct PemBlock {
    /// The text between `-----BEGIN ` and the dashes, such as `PUBLIC KEY`.
    pub label: String,
    /// The decoded bytes, wiped when dropped: they may be a private key.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PemBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemBlock({})", self.label)
    }
}

/// Why a text is not PEM. Does not contain any part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It has no `-----BEGIN …-----` line.
    #[error("does not contain a PEM block (a line that starts with `-----BEGIN`)")]
    NoBlock,
    /// A block is not closed by the `-----END …-----` line of its label.
    #[error("has a PEM block without its `-----END` line")]
    Unclosed,
    /// A block's content is not base64.
    #[error("has a PEM block whose content is not base64")]
    Content,
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// Every block of `text`, in order; text between blocks is explanation (RFC 7468 §2) and skipped. Line ends may
/// be the two characters `\n`, or blanks when the text is one line: variables and JSON strings change a block
/// like that.
///
/// # Errors
/// When it has no block, or one is not closed or not base64. Encrypted legacy blocks with header
/// lines are refused as not base64.
pub fn blocks(text: &str) -> Result<Vec<PemBlock>, PemError> {
    let mut blocks = Vec::new();
    let text = unfolded(text);
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(DASHES))
        else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let mut content = Zeroizing::new(String::with_capacity(text.len()));
        loop {
            match lines.next() {
                None => return Err(PemError::Unclosed),
                Some(line) if line == end => break,
                Some(line) => content.push_str(line),
            }
        }
        let bytes = STANDARD
            .decode(content.as_bytes())
            .map_err(|_| PemError::Content)?;
        blocks.push(PemBlock {
            label: label.to_owned(),
            bytes: Zeroizing::new(bytes),
        });
    }
    if blocks.is_empty() {
        return Err(PemError::NoBlock);
    }
    Ok(blocks)
}

/// `text` with the line ends that a variable, a shell or a JSON string removed.
fn unfolded(text: &str) -> Zeroizing<String> {
    let text = text.trim();
    let has_lines = text.contains('\n');
    if has_lines && !text.contains(r"\n") {
        return Zeroizing::new(text.to_owned());
    }
    // The capacity is never exceeded, so that no unwiped copy is left behind by growing: each segment gains
    // one line end at most, and five dashes stand between two.
    let mut unfolded = Zeroizing::new(String::with_capacity(2 * text.len() + 1));
    for (index, segment) in text.split(DASHES).enumerate() {
        if index % 2 == 1 {
            unfolded.push_str(DASHES);
            unfolded.push_str(segment);
            unfolded.push_str(DASHES);
            unfolded.push('\n');
            continue;
        }
        for line in segment.split(r"\n") {
            let line = line.strip_suffix(r"\r").unwrap_or(line);
            if has_lines {
                unfolded.push_str(line);
                unfolded.push('\n');
                continue;
            }
            for word in line.split_whitespace() {
                unfolded.push_str(word);
                unfolded.push('\n');
            }
        }
    }
    unfolded
}

/// `bytes` as one block with `label`, lines of 64 characters (RFC 7468 §2), wiped when dropped.
#[must_use]
pub fn encode(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    const LINE: usize = 64;
    let encoded = Zeroizing::new(STANDARD.encode(bytes));
    // The capacity is never exceeded, so that no unwiped copy is left behind by growing.
    let capacity = encoded.len()
        + encoded.len().div_ceil(LINE)
        + 2 * (label.len() + BEGIN.len() + DASHES.len() + 1);
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    text.push_str(BEGIN);
    text.push_str(label);
    text.push_str(DASHES);
    text.push('\n');
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str(DASHES);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pem_is_refused() {
        for (text, expected) in [
            ("", PemError::NoBlock),
            ("{\"kty\":\"EC\"}", PemError::NoBlock),
            (
                "-----BEGIN X----\nZm9v\n-----END X-----\n",
                PemError::NoBlock,
            ),
            ("-----BEGIN X-----\nZm9v\n", PemError::Unclosed),
            (
                "-----BEGIN X-----\nZm9v\n-----END Y-----\n",
                PemError::Unclosed,
            ),
            (
                "-----BEGIN X-----\nZm9\n-----END X-----\n",
                PemError::Content,
            ),
            (
                "-----BEGIN X-----\nZm-v\n-----END X-----\n",
                PemError::Content,
            ),
            (
                "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nZm9v\n-----END X-----\n",
                PemError::Content,
            ),
        ] {
            assert_eq!(blocks(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn blocks_are_found_among_explanations_and_line_ends_of_any_kind() {
        let text = "key of the mailer\r\n-----BEGIN A-----\r\nZm9v\r\nZm9v\r\n-----END A-----\r\n\n-----BEGIN B B-----\n\
             -----END B B-----";
        let found = blocks(text).unwrap();
        let found: Vec<(&str, &[u8])> = found
            .iter()
            .map(|block| (block.label.as_str(), block.bytes.as_slice()))
            .collect();
        assert_eq!(found, [("A", &b"foofoo"[..]), ("B B", &b""[..])]);
    }

    #[test]
    fn a_block_whose_line_ends_were_lost_on_the_way_is_found() {
        let text = encode("PRIVATE KEY", &[7; 100]);
        let expected = blocks(&text).unwrap();
        for folded in [
            text.replace('\n', r"\n"),
            text.replace('\n', r"\r\n"),
            text.replace('\n', "\\n\n"),
            text.replace('\n', " "),
            text.replace('\n', "\r\n"),
            format!("{}\\n", text.trim_end().replace('\n', r"\n")),
        ] {
            assert_eq!(blocks(&folded).as_ref(), Ok(&expected), "{folded}");
        }
    }

    #[test]
    fn what_is_encoded_is_found_again_in_lines_of_64() {
        for length in [0, 1, 47, 48, 49, 200] {
            let bytes = vec![7; length];
            let text = encode("PRIVATE KEY", &bytes);
            assert!(text.lines().all(|line| line.len() <= 64));
            let found = blocks(&text).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(
                (found[0].label.as_str(), found[0].bytes.as_slice()),
                ("PRIVATE KEY", bytes.as_slice())
            );
        }
    }
}
