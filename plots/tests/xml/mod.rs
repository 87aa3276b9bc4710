//! Whether a text is well-formed XML, as far as figures use it.

/// Fails unless `text` is one element whose tags nest, whose attributes are quoted, and which has
/// only characters and entities that XML knows.
pub(crate) fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        check_characters(&rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase()), "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            check_attributes(tag[name.len()..].trim_end_matches('/'));
            assert!(at == 0 || !open.is_empty(), "one root element");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty());
}

fn check_attributes(text: &str) {
    let parts: Vec<&str> = text.split('"').collect();
    assert!(parts.len() % 2 == 1, "quotes match: {text}");
    let mut names: Vec<&str> = Vec::new();
    for pair in parts.chunks_exact(2) {
        let name = pair[0].trim().strip_suffix('=').expect("a name before each value");
        assert!(!names.contains(&name), "{name} twice: {text}");
        names.push(name);
        check_characters(pair[1]);
    }
}

fn check_characters(text: &str) {
    let allowed = |c: char| c == '\n' || (c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}');
    assert!(text.chars().all(allowed), "{text:?}");
    for entity in text.split('&').skip(1) {
        let name = entity.split(';').next().unwrap();
        assert!(["lt", "gt", "amp", "quot", "apos"].contains(&name), "&{entity}");
    }
}
