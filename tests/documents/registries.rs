//! docs/registries.md: each case has a line, and the tests that the lines name are there.

use std::collections::BTreeSet;
use std::path::Path;

/// How many cases there are.
const CASES: usize = 90;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Number, case and last column of each line of the table.
fn table() -> Vec<(usize, String, String)> {
    let text = std::fs::read_to_string(root().join("docs/registries.md")).unwrap();
    text.lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
            let number = cells.first()?.parse().ok()?;
            Some((number, cells.get(1)?.to_string(), cells.get(2)?.to_string()))
        })
        .collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a quotation is the name of a test: words joined by underscores.
fn is_test(name: &str) -> bool {
    name.contains('_')
        && name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// The functions and cases of all tests.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut directories = vec![root().join("src"), root().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (before, after) in [("fn ", "("), ("#[case::", "(")] {
                    let parts = text.split(before).skip(1);
                    names.extend(parts.filter_map(|part| {
                        let (name, _) = part.split_once(after)?;
                        is_test(name).then(|| name.to_owned())
                    }));
                }
            }
        }
    }
    names
}

/// The numbers in `case_5_…`, `cases_3_27_and_28_…`.
fn numbers(name: &str) -> Vec<usize> {
    let Some(rest) = name
        .strip_prefix("case_")
        .or_else(|| name.strip_prefix("cases_"))
    else {
        return Vec::new();
    };
    rest.split('_')
        .filter(|word| *word != "and")
        .map_while(|word| word.parse().ok())
        .collect()
}

#[test]
fn every_case_has_a_line_in_its_place() {
    let found: Vec<_> = table().into_iter().map(|(number, ..)| number).collect();
    assert_eq!(found, (1..=CASES).collect::<Vec<_>>());
}

#[test]
fn every_line_names_a_test_or_says_why_there_is_none() {
    for (number, case, column) in table() {
        assert!(!case.is_empty(), "{number}");
        let has_test = quoted(&column).any(is_test) || column.starts_with("the same");
        let has_reason = column.split_whitespace().count() > 5;
        assert!(has_test || has_reason, "{number}: {column}");
        assert!(!column.contains("yet"), "{number}: `not yet` is no reason");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let tests = names_of_tests();
    for (number, _, column) in table() {
        for name in quoted(&column).filter(|name| is_test(name)) {
            assert!(tests.contains(name), "{number}: no test is named {name}");
        }
    }
}

/// A test with several numbers stands in one of their lines at least.
#[test]
fn every_test_with_a_number_stands_in_the_line_of_its_case() {
    let table = table();
    let line = |number: usize| {
        let found = table.iter().find(|(found, ..)| *found == number);
        found.unwrap_or_else(|| panic!("there is no case {number}"))
    };
    let mut absent = Vec::new();
    for name in names_of_tests() {
        let numbers = numbers(&name);
        let mut columns = numbers.iter().map(|number| &line(*number).2);
        if !numbers.is_empty() && !columns.any(|column| column.contains(&name)) {
            absent.push(name.clone());
        }
    }
    assert!(absent.is_empty(), "the table does not name {absent:#?}");
}
