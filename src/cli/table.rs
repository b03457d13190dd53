//! Aligned columns of text.

/// Lines of `rows` under a heading, columns aligned, indented by two spaces.
pub(super) fn render<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut all = vec![heading.map(str::to_owned)];
    all.extend_from_slice(rows);
    lines(&all)
}

/// Lines of `rows`, columns aligned, indented by two spaces.
pub(super) fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter().fold(String::new(), |text, row| text + &line(&widths, row.iter().map(String::as_str)))
}

fn line<'a>(widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<_> = widths.iter().zip(cells).map(|(width, cell)| format!("{cell:width$}")).collect();
    format!("  {}\n", cells.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "é".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(render(["x", "yy"], &rows), "  x     yy\n  a     é\n  long\n");
    }
}
