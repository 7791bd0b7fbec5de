//! Draws what `make bench` measured: throughput over the size of bodies, and over the number of tenants.
//! usage: plot RESULTS.json DIRECTORY, relative to the root of the repository
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)] // A program for people to look at.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;
use wasmpost_tests::root;

const SIZE: (u32, u32) = (860, 460);
const COLOURS: &[RGBColor] = &[
    RGBColor(31, 119, 180),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(214, 39, 40),
    RGBColor(140, 86, 75),
    RGBColor(127, 127, 127),
];

/// A line with what it is called and its points.
type Line = (&'static str, Vec<(f64, f64)>);

const BODIES: &[f64] = &[1024.0, 65536.0, 1048576.0];
const TENANTS: &[f64] = &[1.0, 10.0, 100.0, 500.0];

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [results, directory] = &given[..] else { panic_with_usage() };
    let all: Value = serde_json::from_slice(&std::fs::read(root().join(results)).unwrap()).unwrap();
    let line = |name, points: &[f64], id: &dyn Fn(f64) -> String| -> Line {
        (name, points.iter().filter_map(|at| Some((*at, speed(&all, &id(*at))?))).collect())
    };
    let ways = [
        ("host, reused", "host-reused"),
        ("host, fresh", "host"),
        ("host on the durable queue, fresh", "host-durable"),
        ("wasmtime with Config::new(), fresh", "default"),
        ("Extism, reused", "extism-reused"),
        ("Extism, fresh", "extism-fresh"),
        ("a process for each message", "process"),
    ];
    let bodies: Vec<Line> =
        ways.iter().map(|(name, way)| line(name, BODIES, &|bytes| format!("checksum-{bytes}-{way}"))).collect();
    let ways = [("reused", "reused"), ("fresh, profile bounds", "bounds"), ("fresh, profile guard", "guard")];
    let tenants: Vec<Line> =
        ways.iter().map(|(name, way)| line(name, TENANTS, &|count| format!("tenants-{way}-{count}"))).collect();
    let directory = root().join(directory);
    draw(&directory.join("bodies.svg"), "checksum of the body, one thread", "size of the body in KiB", 1024.0, &bodies);
    draw(&directory.join("tenants.svg"), "checksum of 1 KiB, tenants in turn, one thread", "tenants", 1.0, &tenants);
}

fn panic_with_usage() -> ! {
    println!("usage: plot RESULTS.json DIRECTORY");
    std::process::exit(2);
}

/// Messages for each second of CPU time.
fn speed(all: &Value, id: &str) -> Option<f64> {
    let row = all["rows"].as_array()?.iter().find(|row| row["id"] == id)?;
    Some(1e6 / row["cpu_us"]["median"].as_f64()?)
}

fn draw(path: &Path, title: &str, across: &str, unit: f64, lines: &[Line]) {
    let points = || lines.iter().flat_map(|(_, points)| points);
    if points().next().is_none() {
        println!("nothing to draw for {}", path.display());
        return;
    }
    let most = points().map(|(_, speed)| *speed).fold(0.0, f64::max) * 1.5;
    let least = points().map(|(_, speed)| *speed).fold(f64::MAX, f64::min) / 1.5;
    let (first, last) = points().fold((f64::MAX, 0_f64), |(low, high), (at, _)| (low.min(*at), high.max(*at)));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((first / unit..last / unit * 1.05).log_scale(), (least..most).log_scale())
        .unwrap();
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(across)
        .y_desc("messages for each second of CPU time")
        .x_labels(6)
        .y_labels(8)
        .light_line_style(TRANSPARENT);
    mesh.y_label_formatter(&|speed| format!("{speed:.0}")).x_label_formatter(&|at| format!("{at:.0}")).draw().unwrap();
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let scaled = || points.iter().map(|(at, speed)| (at / unit, *speed));
        let drawn = chart.draw_series(LineSeries::new(scaled(), colour.stroke_width(2))).unwrap();
        drawn.label(*name).legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(scaled().map(|point| Circle::new(point, 3, colour.filled()))).unwrap();
    }
    let mut legend = chart.configure_series_labels();
    legend
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .unwrap();
    area.present().unwrap();
    println!("{}", path.display());
}
