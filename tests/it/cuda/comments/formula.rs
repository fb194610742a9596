//! Formulas as the comments of kernels write them: `2 n ceil(h w / 256)`. What stands side by side
//! is multiplied.

/// The value of a formula of numbers, names, `+ - * / ^`, brackets, `ceil`, `max` and `min`.
///
/// # Errors
/// Where it is no formula, or has a name without a value.
pub fn value(text: &str, names: &dyn Fn(&str) -> Option<f64>) -> Result<f64, String> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        at: 0,
        names,
    };
    let value = reader.sum()?;
    match reader.peek() {
        None => Ok(value),
        Some(token) => Err(format!("`{token}` after the formula `{text}`")),
    }
}

/// The formulas of a list with commas between.
pub fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut parts = vec![];
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut tokens: Vec<String> = vec![];
    let mut in_word = false;
    for c in text.chars() {
        match c {
            _ if is_word(c) && in_word => tokens.last_mut().expect("a word is begun").push(c),
            _ if is_word(c) || "+-*/^(),".contains(c) => tokens.push(c.to_string()),
            _ if c.is_whitespace() => {}
            _ => return Err(format!("`{c}` in the formula `{text}`")),
        }
        in_word = is_word(c);
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    names: &'a dyn Fn(&str) -> Option<f64>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.peek() == Some(token);
        self.at += usize::from(there);
        there
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.power()?;
        loop {
            if self.take("/") {
                value /= self.power()?;
            } else if self.take("*") || self.peek().is_some_and(|token| !"+-^),".contains(token)) {
                value *= self.power()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn power(&mut self) -> Result<f64, String> {
        let base = self.atom()?;
        match self.take("^") {
            true => Ok(base.powf(self.atom()?)),
            false => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<f64, String> {
        let token = self
            .peek()
            .ok_or("a formula that ends too early")?
            .to_string();
        self.at += 1;
        match token.as_str() {
            "(" => {
                let value = self.sum()?;
                self.closed().map(|()| value)
            }
            "ceil" | "max" | "min" if self.take("(") => {
                let mut value = self.sum()?;
                while self.take(",") {
                    let other = self.sum()?;
                    value = match token.as_str() {
                        "max" => value.max(other),
                        "min" => value.min(other),
                        _ => return Err("`ceil` of more than one value".to_string()),
                    };
                }
                let value = if token == "ceil" { value.ceil() } else { value };
                self.closed().map(|()| value)
            }
            _ => match token.parse() {
                Ok(number) => Ok(number),
                Err(_) => (self.names)(&token).ok_or(format!("nothing is named `{token}`")),
            },
        }
    }

    fn closed(&mut self) -> Result<(), String> {
        match self.take(")") {
            true => Ok(()),
            false => Err("a bracket that is not closed".to_string()),
        }
    }
}

#[test]
fn formulas() {
    let names = |name: &str| match name {
        "n" => Some(3.0),
        "h_w" => Some(5.0),
        _ => None,
    };
    for (text, expected) in [
        ("2 n h_w", 30.0),
        ("2 + n (h_w - 1) / 4", 5.0),
        ("ceil(h_w / 2) n", 9.0),
        ("2^(n + 1) * 4", 64.0),
        ("max(n, h_w, 2 n) - min(n, 1)", 5.0),
        ("3072 + 8 * 256", 5120.0),
    ] {
        assert_eq!(value(text, &names), Ok(expected), "{text}");
    }
    for text in ["2 m", "n +", "(n", "n )", "each 4", "n $", "", "ceil(n, n)"] {
        assert!(value(text, &names).is_err(), "{text}");
    }
    assert_eq!(list("n, max(n, 2), 3"), ["n", "max(n, 2)", "3"]);
}
