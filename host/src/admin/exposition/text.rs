//! The text formats of Prometheus: the classic one, and OpenMetrics for those who ask for it.

use crate::metrics::Counts;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Classic,
    OpenMetrics,
}

/// A text of metrics that grows.
pub(super) struct Text {
    format: Format,
    text: String,
    name: String,
}

/// The labels of a value.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Format {
    /// The format for a header `Accept`.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Classic }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new(), name: String::new() }
    }

    /// Begins a metric. The name of a counter is given without `_total`.
    pub(super) fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = if kind == Kind::Counter { format!("{name}_total") } else { name.to_owned() };
        // OpenMetrics names the family without the suffix.
        let family = if self.format == Format::OpenMetrics { name } else { &self.name };
        self.text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} {word}\n"));
    }

    /// A value of the metric that was begun last.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: f64) {
        let name = self.name.clone();
        self.line(&name, labels, None, value);
    }

    /// A histogram of the metric that was begun last, whose values count as so much each.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, counts: &Counts, unit: f64) {
        // A host may have thousands of receivers, most of which had no message yet.
        if counts.total() == 0 {
            return;
        }
        let [bucket, sum, total] = ["bucket", "sum", "count"].map(|part| format!("{}_{part}", self.name));
        let mut seen = 0;
        for (at, count) in counts.counts.iter().enumerate() {
            seen += count;
            let bound =
                counts.bounds.get(at).map_or_else(|| "+Inf".to_owned(), |bound| (*bound as f64 * unit).to_string());
            self.line(&bucket, labels, Some(&bound), seen as f64);
        }
        self.line(&sum, labels, None, counts.sum as f64 * unit);
        self.line(&total, labels, None, seen as f64);
    }

    fn line(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        self.text.push_str(name);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        for (at, (name, value)) in all.enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
            self.text.push('}');
        }
        self.text.push_str(&format!(" {value}\n"));
    }

    /// All of it.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn both_formats_are_as_their_readers_expect_them() {
        let write = |format| {
            let mut text = Text::new(format);
            text.begin("a", Kind::Counter, "Of a.");
            text.value(&[("of", "x\"\\\n")], 2.0);
            text.begin("b_seconds", Kind::Histogram, "Of b.");
            let histogram = Histogram::new(&[1_000, 2_500]);
            [500, 2_000, 9_000].iter().for_each(|value| histogram.record(*value));
            text.histogram(&[("of", "y")], &histogram.counts(), 1e-6);
            text.end()
        };
        let classic = write(Format::Classic);
        let expected = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{of=\"x\\\"\\\\\\n\"} 2\n\
                        # HELP b_seconds Of b.\n# TYPE b_seconds histogram\nb_seconds_bucket{of=\"y\",le=\"0.001\"} 1\n\
                        b_seconds_bucket{of=\"y\",le=\"0.0025\"} 2\nb_seconds_bucket{of=\"y\",le=\"+Inf\"} 3\n\
                        b_seconds_sum{of=\"y\"} 0.0115\nb_seconds_count{of=\"y\"} 3\n";
        assert_eq!(classic, expected);
        let open = write(Format::OpenMetrics);
        assert!(open.starts_with("# HELP a Of a.\n# TYPE a counter\na_total{") && open.ends_with("# EOF\n"), "{open}");
    }
}
