//! Where one SQL statement ends and the next begins.

/// The statements of a text, cut at semicolons that are in no string, quoted name or comment.
pub(super) fn statements(text: &str) -> impl Iterator<Item = &str> {
    let mut cuts = Vec::new();
    let mut begin = 0;
    let mut end_of_quote: Option<&str> = None;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let width = rest.chars().next().map_or(1, char::len_utf8);
        match end_of_quote {
            Some(end) if rest.starts_with(end) => {
                at += end.len();
                end_of_quote = None;
                continue;
            }
            Some(_) => {}
            None if rest.starts_with('\'') => end_of_quote = Some("'"),
            None if rest.starts_with('"') => end_of_quote = Some("\""),
            None if rest.starts_with("--") => end_of_quote = Some("\n"),
            None if rest.starts_with("/*") => end_of_quote = Some("*/"),
            None if rest.starts_with(';') => {
                cuts.push((begin, at));
                begin = at + 1;
            }
            None => {}
        }
        at += width;
    }
    cuts.push((begin, text.len()));
    cuts.into_iter().map(|(begin, end)| text[begin..end].trim()).filter(|statement| !is_blank(statement))
}

/// Whether a statement is nothing but comments.
fn is_blank(statement: &str) -> bool {
    statement.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}
