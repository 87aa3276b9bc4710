//! Just enough of Rust's lexical structure: what is code, and where functions begin and end.

/// Returns `text` with comments and the insides of literals blanked out, lines and length in
/// characters unchanged.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => quoted_end(&chars, at),
            '\'' => char_end(&chars, at),
            'r' | 'b' | 'c' if !follows_word(&chars, at) => prefixed_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

fn line_end(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take_while(|&&c| c != '\n').count()
}

/// Block comments nest.
fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here < chars.len() {
        match (chars[here], chars.get(here + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                here += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                here += 2;
                if depth == 0 {
                    return here;
                }
            }
            _ => here += 1,
        }
    }
    chars.len()
}

/// End of a string that begins at the quote `at` and knows escapes.
fn quoted_end(chars: &[char], at: usize) -> usize {
    let mut here = at + 1;
    while here < chars.len() {
        match chars[here] {
            '\\' => here += 2,
            '"' => return here + 1,
            _ => here += 1,
        }
    }
    chars.len()
}

/// End of a character literal, or `at` if the quote begins a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), Some(_)) => {
            let rest = chars[at + 3..].iter().position(|&c| c == '\'');
            rest.map_or(chars.len(), |n| at + 3 + n + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// End of a raw, byte or C string whose prefix begins at `at`, or `at` if there is none.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let letters = chars[at..].iter().take(2).take_while(|c| "rbc".contains(**c)).count();
    let raw = chars[at..at + letters].contains(&'r');
    let quote = at + letters;
    if !raw {
        return match chars.get(quote) {
            Some('"') => quoted_end(chars, quote),
            Some('\'') => char_end(chars, quote),
            _ => at,
        };
    }
    let hashes = chars[quote..].iter().take_while(|&&c| c == '#').count();
    if chars.get(quote + hashes) != Some(&'"') {
        return at;
    }
    let mut here = quote + hashes + 1;
    while here < chars.len() {
        let after = &chars[here + 1..];
        if chars[here] == '"' && after.iter().take_while(|&&c| c == '#').count() >= hashes {
            return here + 1 + hashes;
        }
        here += 1;
    }
    chars.len()
}

/// A function with a body: its name, first line (from 1) and number of lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All functions with a body in `code`, which has to come from [`code_only`].
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    for at in 0..chars.len() {
        if chars[at] == '\n' {
            line += 1;
        }
        let Some(name) = function_name(&chars, at) else { continue };
        if let Some(end) = body_end(&chars, at) {
            let lines = 1 + chars[at..end].iter().filter(|&&c| c == '\n').count();
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// The name, if the keyword `fn` with a name is at `at`.
fn function_name(chars: &[char], at: usize) -> Option<String> {
    let keyword = chars[at..].starts_with(&['f', 'n']) && !follows_word(chars, at);
    if !keyword || !chars.get(at + 2)?.is_whitespace() {
        return None;
    }
    let rest = chars[at + 2..].iter().skip_while(|c| c.is_whitespace());
    let name: String = rest.take_while(|c| is_word(**c)).collect();
    (!name.is_empty()).then_some(name)
}

/// Where the body of the function at `at` ends; `None` if it has none.
fn body_end(chars: &[char], at: usize) -> Option<usize> {
    let (mut nested, mut braces) = (0, 0);
    for (offset, &c) in chars[at..].iter().enumerate() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            '{' if nested == 0 || braces > 0 => braces += 1,
            '}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + offset + 1);
                }
            }
            ';' if nested == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Whether `word` occurs in `line` with no letter, digit or underscore on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let ends_in_word = word.ends_with(is_word);
        !(before.is_some_and(is_word) || ends_in_word && after.is_some_and(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"{") + 1"#, "f(      ) + 1"),
            (r####"r##"a"#{"## ; b"####, "            ; b"),
            (r#"b'{' b"}" '\'' '\u{1}' x"#, "                       x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("for r#type in bar", "for r#type in bar"),
            ("\"two\nlines\" x", "    \n       x"),
        ];
        for (text, want) in cases {
            assert_eq!(code_only(text), want, "of {text}");
        }
    }

    #[test]
    fn unfinished_literals_do_no_harm() {
        for text in ["\"abc", "r#\"abc", "/* abc", "'\\", "b'", "'", "\"a\\", "r", "r#"] {
            assert!(code_only(text).chars().count() >= text.chars().count());
        }
    }

    #[test]
    fn functions_are_measured() {
        let text = "trait T {\n fn no_body(a: [u8; 3]);\n fn one(&self) { () }\n}\n\
                    const fn two<const N: usize>(x: [u8; { N }]) -> u8\nwhere\n u8: Copy,\n{\n \
                    fn inner() {\n }\n if true { 1 } else { 2 }\n}\nlet f: fn (u8) = two;\n\
                    // fn comment() {\nlet s = \"fn string() {\";\n";
        let want = [("one", 3, 1), ("two", 5, 8), ("inner", 9, 2)];
        let found: Vec<_> =
            functions(&code_only(text)).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, want.map(|(name, line, lines)| (name.to_owned(), line, lines)));
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("an unsafe block", "unsafe"));
        assert!(has_word("unsafe", "unsafe"));
        assert!(!has_word("unsafe_code = not_unsafe", "unsafe"));
        assert!(has_word("x = later!()", "later!"));
        assert!(has_word("x = later!y", "later!"));
    }
}
