//! What grows with depth, size and the number of tasks, and what does not: `make scale` draws `docs/scale.svg`.

use std::fmt::Write;
use std::fs;

use qemu::harness::root;

/// A line of points: what grows, and what it costs.
pub struct Series {
    /// What is on the horizontal axis.
    pub title: &'static str,
    /// Its values, rising, and what an operation costs at each.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 40.0;
const PANEL: f64 = WIDTH + LEFT + 18.0;

/// Writes the plot, and shows its numbers.
pub fn draw(series: &[Series]) {
    let width = PANEL * series.len() as f64 + 8.0;
    let height = TOP + HEIGHT + 52.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (index, series) in series.iter().enumerate() {
        panel(&mut svg, index as f64 * PANEL + LEFT, series);
        println!("{}: {}", series.title, list(&series.points));
    }
    svg.push_str("</svg>\n");
    let path = root().join("docs/scale.svg");
    fs::write(&path, svg).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("drawn: {}", path.display());
}

fn list(points: &[(f64, f64)]) -> String {
    points.iter().map(|(at, cost)| format!("{at}={cost:.0}")).collect::<Vec<_>>().join(" ")
}

/// One series, from zero up; the horizontal axis counts doublings.
fn panel(svg: &mut String, left: f64, series: &Series) {
    let most = series.points.iter().map(|(_, cost)| *cost).fold(1.0, f64::max);
    let step = [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0]
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(50_000.0);
    let top = (most / step).ceil() * step;
    let (first, last) = (series.points[0].0.log2(), series.points[series.points.len() - 1].0.log2());
    let across = |at: f64| left + (at.log2() - first) / (last - first).max(1.0) * WIDTH;
    let up = |cost: f64| TOP + HEIGHT - cost / top * HEIGHT;
    let mut add = |text: String| svg.write_fmt(format_args!("{text}\n")).expect("a string takes everything");
    add(format!("<text x=\"{left}\" y=\"20\" font-size=\"13\">{}</text>", series.title));
    let mut line = 0.0;
    while line <= top {
        let y = up(line);
        add(format!("<path d=\"M{left} {y:.1}h{WIDTH}\" stroke=\"#ddd\"/>"));
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{line}</text>", left - 6.0, y + 4.0));
        line += step;
    }
    let path: Vec<_> = series.points.iter().map(|(at, cost)| format!("{:.1} {:.1}", across(*at), up(*cost))).collect();
    add(format!("<path d=\"M{}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>", path.join("L")));
    for (at, cost) in &series.points {
        let x = across(*at);
        add(format!("<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f5fa8\"/>", up(*cost)));
        let name = if *at >= 1024.0 { format!("{}K", at / 1024.0) } else { at.to_string() };
        add(format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>", TOP + HEIGHT + 16.0));
    }
    add(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">guest instructions an operation</text>",
        left + WIDTH / 2.0,
        TOP + HEIGHT + 38.0
    ));
}
