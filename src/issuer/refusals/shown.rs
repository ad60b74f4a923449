//! The part of a refusal that the audit shows: bounded and printable, whatever a caller sent.

use serde_json::{Value, json};

use crate::domain::audit::AuditDraft;
use crate::domain::text::is_unshowable;

use super::super::secrets::is_well_formed;

/// Longest detail of a refusal, in bytes of JSON.
const DETAIL_MAX_BYTES: usize = 256;
/// How much of each text in a detail is kept, in bytes of JSON: the first value that makes the detail short
/// enough.
const TEXT_MAX_BYTES: [usize; 5] = [160, 96, 64, 40, 20];
/// Replaces what is left out.
const MARK: char = '…';
/// Members of a detail that are never left out.
const KEPT_MEMBERS: [&str; 6] = ["error", "status", "reason", "count", "first_at", "last_at"];
/// Bytes kept of a claimed client id, or of a target in a kind, plus at most one escape: names have up to 128.
pub(super) const SHOWN_MAX_BYTES: usize = 160;

/// Bytes kept of a stranger's value in a reason, plus at most one escape.
const FACT_MAX_BYTES: usize = 64;

/// Refusals repeat what callers sent: removes characters that could affect the database or a terminal.
pub(super) fn printable(draft: AuditDraft) -> AuditDraft {
    let clean = |text: String| text.chars().filter(|&c| !is_unshowable(c)).collect();
    AuditDraft {
        actor: clean(draft.actor),
        target: clean(draft.target),
        address: clean(draft.address),
        detail: clean(draft.detail),
        ..draft
    }
}

/// A claimed client id as the audit shows it: short, one line, never a secret.
pub(super) fn shown(unverified_client_id: &str) -> String {
    if is_well_formed(unverified_client_id.trim()) {
        return "a client secret in place of a client id".to_owned();
    }
    escaped(unverified_client_id, SHOWN_MAX_BYTES)
}

/// A stranger's value in a reason: short, quoted, one line, never a secret.
pub(in crate::issuer) fn fact(unverified: &str) -> String {
    if is_well_formed(unverified.trim()) {
        return "(a client secret)".to_owned();
    }
    let shown = escaped(unverified, FACT_MAX_BYTES);
    let mark = if unverified.len() > FACT_MAX_BYTES {
        "…"
    } else {
        ""
    };
    format!("`{shown}{mark}`")
}

/// The beginning of a text, of about `most` bytes.
fn escaped(unverified: &str, most: usize) -> String {
    let mut shown = String::new();
    for c in unverified.chars() {
        if shown.len() >= most {
            break;
        }
        if is_unshowable(c) {
            // Escaped, not removed: the rest could be another client's name.
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A detail of at most [`DETAIL_MAX_BYTES`]: nested values are removed first, then texts are cut, then members are
/// dropped.
pub(super) fn capped(mut detail: Value) -> String {
    let text = detail.to_string();
    if text.len() <= DETAIL_MAX_BYTES {
        return text;
    }
    let Some(members) = detail.as_object_mut() else {
        return json!({ "reason": cut(&text, TEXT_MAX_BYTES[0]) }).to_string();
    };
    for value in members.values_mut() {
        if value.is_object() || value.is_array() {
            *value = json!(MARK.to_string());
        }
    }
    for most in TEXT_MAX_BYTES {
        for value in members.values_mut() {
            if let Value::String(text) = value {
                *text = cut(text, most);
            }
        }
        let text = json!(members).to_string();
        if text.len() <= DETAIL_MAX_BYTES {
            return text;
        }
    }
    members.retain(|name, _| KEPT_MEMBERS.contains(&name.as_str()));
    detail.to_string()
}

/// The beginning of a text, at most `most` bytes in JSON, with a mark if it was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut length = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        length += match c {
            '"' | '\\' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        if length <= most - MARK.len_utf8() {
            end = at + c.len_utf8();
        }
        if length > most {
            return format!("{}{MARK}", &text[..end]);
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_valid_json_of_at_most_256_bytes_that_still_tells_the_reason() {
        let long = "\"\\é".repeat(4000);
        let many: Vec<String> = (0..500).map(|number| format!("scope-{number}")).collect();
        for detail in [
            json!({ "error": "invalid_scope", "reason": long }),
            json!({ "error": "invalid_scope", "reason": long, "count": u64::MAX, "first_at": i64::MAX, "last_at": i64::MAX }),
            json!({ "error": "invalid_target", "reason": "not granted", "subject": long, "resource": long }),
            json!({ "error": "invalid_grant", "reason": "x".repeat(256), "claims": { "a": many, "b": long } }),
            json!({ "error": "invalid_grant", "reason": { "a": many } }),
        ] {
            let text = capped(detail.clone());
            assert!(
                text.len() <= DETAIL_MAX_BYTES,
                "{} bytes: {text}",
                text.len()
            );
            let short: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(short["error"], detail["error"], "{text}");
            if let (Some(short), Some(whole)) =
                (short["reason"].as_str(), detail["reason"].as_str())
            {
                assert!(whole.starts_with(short.trim_end_matches('…')), "{text}");
                assert!(short.len() > 8, "{text}");
            }
        }
        let fits = json!({ "error": "invalid_scope", "reason": "x".repeat(200) });
        assert_eq!(capped(fits.clone()), fits.to_string());
    }
}
