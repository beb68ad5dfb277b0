//! "Did you mean": the known word nearest to an unknown one.

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    // Where every letter is another one, nothing was meant.
    let most = (length / 3).clamp(1, 3).min(length.saturating_sub(1));
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// `a`, `b` or `c`: a list for a sentence.
pub fn one_of<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => "nothing".into(),
        [only] => format!("`{}`", only.as_ref()),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|w| format!("`{}`", w.as_ref())).collect();
            format!("{} or `{}`", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let known = ["inputs", "outputs", "plugin", "limits"];
        assert_eq!(nearest("input", known), Some("inputs"));
        assert_eq!(nearest("ouptuts", known), Some("outputs"));
        assert_eq!(nearest("Plugin", known), Some("plugin"));
        assert_eq!(nearest("secrets", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("a", ["o"]), None);
    }
}
