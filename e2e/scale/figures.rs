//! The figures beside their goals, as a table. It must not know: where they come from.

use std::fmt;

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    name: String,
    goal: &'static str,
    measured: String,
}

impl Figures {
    /// Takes a figure down, and says so at once: the whole takes minutes.
    #[expect(clippy::print_stderr, reason = "progress, beside the figures")]
    pub(crate) fn add(&mut self, name: impl Into<String>, goal: &'static str, measured: String) {
        let figure = Figure {
            name: name.into(),
            goal,
            measured,
        };
        eprintln!("{figure}");
        self.0.push(figure);
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "the figures are the output")]
    pub(crate) fn print(&self) {
        println!("\n| figure | goal | measured |\n|---|---|---|");
        for figure in &self.0 {
            println!("{figure}");
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            goal,
            measured,
        } = self;
        write!(formatter, "| {name} | {goal} | {measured} |")
    }
}

/// Seconds with one decimal.
pub(crate) fn seconds(duration: std::time::Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
