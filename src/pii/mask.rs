//! How a value is shown to people who should recognise it and not learn it.

/// `a…@e….org`, of an e-mail address: enough to find the value again, too little to use it.
pub(super) fn address(value: &str) -> String {
    let first = |text: &str| text.chars().next().map_or_else(String::new, String::from);
    let Some((local, domain)) = value.rsplit_once('@') else { return number(value) };
    let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
    format!("{}…@{}….{top}", first(local), first(domain))
}

/// `DE…3000`, of anything else.
pub(super) fn number(value: &str) -> String {
    let bare: Vec<char> = value.chars().filter(|c| c.is_alphanumeric()).collect();
    let (head, tail) = match bare.len() {
        ..6 => (1, 0),
        6..12 => (1, 2),
        12..16 => (2, 2),
        _ => (2, 4),
    };
    let head: String = bare.iter().take(head).collect();
    let tail: String = bare[bare.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_shown() {
        assert_eq!(address("anna.b@example.org"), "a…@e….org");
        assert_eq!(number("id@x.SECRET-PART"), "id…RT", "an own pattern's value");
        assert_eq!(number("DE89 3704 0044 0532 0130 00"), "DE…3000");
        assert_eq!(number("+49 30 901820"), "4…20");
        assert_eq!(number("ab12"), "a…");
        assert_eq!(number(""), "…");
    }
}
