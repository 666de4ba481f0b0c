//! A drawing of the curves.
//!
//! Owns the look of it. Knows nothing of how they came to be.

use std::error::Error;
use std::ops::Range;

use almadia_peers::growth::Point;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Curves;

/// Of one panel, in pixels.
const PANEL: (u32, u32) = (400, 270);
const COLUMNS: usize = 3;
const FONT: &str = "sans-serif";

const OURS: RGBColor = RGBColor(0, 90, 181);
const THEIRS: RGBColor = RGBColor(220, 110, 20);

/// What one side took at a point.
type CostOf = fn(&Point) -> f64;

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws one panel for each quantity, and what the lines are in the place that is left.
pub(crate) fn draw(path: &str, curves: &[Curves]) -> Result<(), Box<dyn Error>> {
    let rows = (curves.len() + 1).div_ceil(COLUMNS);
    let size = (
        PANEL.0 * u32::try_from(COLUMNS)?,
        PANEL.1 * u32::try_from(rows)?,
    );
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let height = height(curves);
    let panels = root.split_evenly((rows, COLUMNS));
    for (panel, curves) in panels.iter().zip(curves) {
        draw_panel(panel, &height, curves)?;
    }
    if let Some(panel) = panels.get(curves.len()) {
        draw_legend(panel)?;
    }
    root.present()?;
    Ok(())
}

/// The costs that are drawn, from one power of ten to another: the same in all panels, so that steep is steep
/// in every one.
fn height(curves: &[Curves]) -> Range<f64> {
    let points = curves.iter().flat_map(|(_, points)| points);
    let costs = points.flat_map(|point| [point.almadia, point.raft_rs]);
    let (lowest, highest) = costs.fold((f64::MAX, 1.0), |(low, high), cost| {
        (low.min(cost), f64::max(high, cost))
    });
    let [from, to] =
        [lowest.log10().floor(), highest.log10().ceil()].map(|power| 10_f64.powf(power));
    from..to
}

fn draw_panel(
    panel: &Panel<'_>,
    height: &Range<f64>,
    (quantity, points): &Curves,
) -> Result<(), Box<dyn Error>> {
    // A logarithm has no zero: what stands at zero is drawn where one is.
    let value = |value: u64| value.max(1) as f64;
    let values = points.iter().map(|point| value(point.value));
    let most = values.fold(1.0, f64::max);
    let least = points.first().map_or(1.0, |point| value(point.value));
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((least..most).log_scale(), height.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc(quantity.counts())
        .y_desc(quantity.unit())
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    let sides: [(RGBColor, CostOf); 2] = [
        (THEIRS, |point| point.raft_rs),
        (OURS, |point| point.almadia),
    ];
    for (colour, cost) in sides {
        let line: Vec<(f64, f64)> = points
            .iter()
            .map(|point| (value(point.value), cost(point)))
            .collect();
        chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?;
        let dots = line.into_iter();
        chart.draw_series(dots.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    Ok(())
}

fn draw_legend(panel: &Panel<'_>) -> Result<(), Box<dyn Error>> {
    for (at, (name, colour)) in [("almadia", OURS), ("raft-rs 0.7", THEIRS)]
        .into_iter()
        .enumerate()
    {
        let y = 90 + 30 * i32::try_from(at)?;
        let line = vec![(110, y), (150, y)];
        panel.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        panel.draw(&Circle::new((130, y), 3, colour.filled()))?;
        panel.draw(&Text::new(name, (160, y - 8), (FONT, 16)))?;
    }
    let note = "both axes are logarithmic; 0 is drawn at 1";
    panel.draw(&Text::new(note, (110, 146), (FONT, 13)))?;
    Ok(())
}

/// A number with its thousands and millions as letters.
fn short(value: f64) -> String {
    let (value, letter) = if value >= 1e6 {
        (value / 1e6, "M")
    } else if value >= 1e3 {
        (value / 1e3, "k")
    } else {
        (value, "")
    };
    format!("{value}{letter}")
}
