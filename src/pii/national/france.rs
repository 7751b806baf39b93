//! France: the social security number (NIR), sex, year, month, department (2A and 2B in Corsica),
//! commune, sequence number, and a key: 97 minus the number modulo 97 (INSEE).

use crate::pii::window::Window;

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let number = window.compact();
    let forms: [&[usize]; 4] = [&[15], &[13, 2], &[1, 2, 2, 2, 3, 3, 2], &[1, 2, 2, 2, 6, 2]];
    if number.len() != 15 || !forms.iter().any(|form| window.has_form(form, " .-")) {
        return false;
    }
    // Corsica's letters stand for 19 and 18.
    let body = match &number[5..7] {
        "2A" => format!("{}19{}", &number[..5], &number[7..13]),
        "2B" => format!("{}18{}", &number[..5], &number[7..13]),
        _ => number[..13].to_owned(),
    };
    if !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let month = number[3..5].parse::<u32>().unwrap_or(0);
    let (Ok(value), Ok(key)) = (body.parse::<u64>(), number[13..].parse::<u64>()) else {
        return false;
    };
    matches!(number.as_bytes()[0], b'1'..=b'4' | b'7' | b'8')
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && key == 97 - value % 97
        && window.stands_alone()
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn social_security_numbers() {
        let yes = ["2 55 08 14 168 025 38", "255081416802538"];
        check("French NIR", &yes, &["255081416802539", "955081416802538", "2 5508 1416802538"]);
    }
}
