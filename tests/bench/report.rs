//! Results, for people and for programs.

use serde_json::{Value, json};

use crate::measure::{By, Row};

/// Everything that was measured in this run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(String, Row)>,
    /// Numbers that are no times, with their ids, what they are of, and their units.
    figures: Vec<(String, String, f64, String)>,
    notes: Vec<String>,
}

impl Report {
    /// Prints the rows of a group, compared with the first, and keeps them.
    pub(crate) fn group(&mut self, title: &str, by: By, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let compared = if by == By::Cpu { "CPU" } else { "wall" };
        println!("{title}");
        println!(
            "  {:<52} {:>10} {:>21} {:>10} {:>11}  of first, by {compared}",
            "", "µs/message", "[lowest to highest]", "CPU µs", "messages/s"
        );
        for row in &rows {
            print_row(row, &rows[0], by);
        }
        println!();
        self.rows.extend(rows.into_iter().map(|row| (title.to_owned(), row)));
    }

    /// Prints a line that belongs to what was measured, and keeps it.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("  {text}\n");
        self.notes.push(text);
    }

    /// Prints a number and keeps it.
    pub(crate) fn figure(&mut self, id: &str, what: &str, value: f64, unit: &str) {
        println!("  {what:<60} {value:>10.2} {unit}\n");
        self.figures.push((id.to_owned(), what.to_owned(), value, unit.to_owned()));
    }

    /// A number, if it was measured.
    pub(crate) fn value(&self, id: &str) -> Option<f64> {
        self.figures.iter().find(|(own, ..)| own == id).map(|(_, _, value, _)| *value)
    }

    /// How much more a message costs where most wait than where none do.
    pub(crate) fn deepest(&self) -> Vec<(String, f64)> {
        let cost = |what: &str| {
            let mut rows = self.rows.iter().map(|(_, row)| row).filter(|row| row.id.starts_with(what));
            let first = rows.next()?;
            let last = rows.next_back()?;
            Some((format!("{}: cost ÷ none waiting", last.name), 1.0 / last.speed_of(first, By::Cpu)))
        };
        ["backlog-publish", "backlog-ack"].into_iter().filter_map(cost).collect()
    }

    /// The row of this id, if it was measured.
    pub(crate) fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().map(|(_, row)| row).find(|row| row.id == id)
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(group, row)| row_json(group, row)).collect();
        let figure = |(id, what, value, unit): &(String, String, f64, String)| json!({ "id": id, "name": what, "value": value, "unit": unit });
        let figures: Vec<Value> = self.figures.iter().map(figure).collect();
        json!({ "processors": std::thread::available_parallelism().map_or(1, usize::from), "rows": rows, "figures": figures, "notes": self.notes })
    }
}

fn print_row(row: &Row, base: &Row, by: By) {
    let (lowest, highest) = spread(&row.wall);
    let micros = row.median(By::Wall) * 1e6;
    println!(
        "  {:<52} {micros:>10.2} {:>21} {:>10.2} {:>11.0}  {:.2}",
        row.name,
        format!("[{:.2} to {:.2}]", lowest * 1e6, highest * 1e6),
        row.median(By::Cpu) * 1e6,
        1e6 / micros,
        row.speed_of(base, by),
    );
}

fn spread(all: &[f64]) -> (f64, f64) {
    all.iter().fold((f64::MAX, 0.0), |(lowest, highest), time| (time.min(lowest), time.max(highest)))
}

fn row_json(group: &str, row: &Row) -> Value {
    let times = |by| {
        let (lowest, highest) = spread(row.of(by));
        json!({ "median": row.median(by) * 1e6, "lowest": lowest * 1e6, "highest": highest * 1e6 })
    };
    json!({
        "group": group,
        "id": row.id,
        "name": row.name,
        "rounds": row.wall.len(),
        "wall_us": times(By::Wall),
        "cpu_us": times(By::Cpu),
        "messages_per_second": 1.0 / row.median(By::Wall),
    })
}
