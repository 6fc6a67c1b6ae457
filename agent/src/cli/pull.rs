//! `berth pull`: fetches an image before a task needs it.
//!
//! On a terminal each layer has a bar on standard error; elsewhere each step of each layer is a line there. Standard
//! output gets the image as `REFERENCE@DIGEST`, or with `--json` every event.

use super::Context;
use super::failure::Failure;
use super::{terminal, text};
use crate::api::types::{PullEvent, PullLayer, PullRequest, PullStep};
use berth_runtime::errno::tell;
use http::Method;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `berth pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// Such as `registry.example/nginx:1.27`
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON, an event a line
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

/// Pulls each image in turn.
pub(crate) async fn run(context: &Context, args: &PullArgs) -> Result<ExitCode, Failure> {
    for reference in &args.images {
        let mut display: Box<dyn Display> = match args {
            PullArgs { json: true, .. } => Box::new(Json),
            PullArgs { quiet: true, .. } => Box::new(Quiet),
            _ if terminal::talks_to_a_person() => Box::new(Bars::new()),
            _ => Box::new(Lines::default()),
        };
        pull(context, reference, display.as_mut()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn pull(context: &Context, reference: &str, display: &mut dyn Display) -> Result<(), Failure> {
    let request = PullRequest { reference: reference.to_owned() };
    let mut events = context.client.lines(Method::POST, "/v1/images/pull", Some(&request)).await?;
    while let Some(event) = events.next::<PullEvent>().await? {
        display.show(&event)?;
        match event {
            PullEvent::Failed { error } => {
                let failure = Failure::new(error.message);
                return Err(match error.hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                });
            }
            PullEvent::Done { image } => return display.done(&format!("{}@{}\n", image.reference, image.digest)),
            PullEvent::Manifest { .. } | PullEvent::Progress { .. } => {}
        }
    }
    Err(Failure::new(format!("pull `{reference}`: the agent ended the answer early")).hint("see the agent's log"))
}

/// Where events are shown.
trait Display {
    /// Shows one event.
    fn show(&mut self, event: &PullEvent) -> Result<(), Failure>;
    /// The image is there.
    fn done(&mut self, image: &str) -> Result<(), Failure> {
        terminal::print(image)
    }
}

struct Json;

impl Display for Json {
    fn show(&mut self, event: &PullEvent) -> Result<(), Failure> {
        terminal::print_json_line(event)
    }
    fn done(&mut self, _image: &str) -> Result<(), Failure> {
        Ok(())
    }
}

struct Quiet;

impl Display for Quiet {
    fn show(&mut self, _event: &PullEvent) -> Result<(), Failure> {
        Ok(())
    }
}

/// A line at each step of each layer.
#[derive(Debug, Default)]
struct Lines {
    sizes: HashMap<String, u64>,
    steps: HashMap<String, PullStep>,
}

impl Lines {
    fn line(&mut self, event: &PullEvent) -> Option<String> {
        match event {
            PullEvent::Manifest { digest, layers } => {
                self.sizes = layers.iter().map(|l| (l.digest.clone(), l.size)).collect();
                let size = text::bytes(layers.iter().map(|l| l.size).sum());
                Some(format!("manifest {}: {}, {size}", text::short_digest(digest), text::count(layers.len(), "layer")))
            }
            PullEvent::Progress { digest, step, .. } => {
                if self.steps.insert(digest.clone(), *step) == Some(*step) || *step == PullStep::Waiting {
                    return None;
                }
                let size = match (step, self.sizes.get(digest)) {
                    (PullStep::Downloading, Some(size)) => format!(" {}", text::bytes(*size)),
                    _ => String::new(),
                };
                Some(format!("layer {}: {}{size}", text::short_digest(digest), word(*step)))
            }
            PullEvent::Done { .. } | PullEvent::Failed { .. } => None,
        }
    }
}

impl Display for Lines {
    fn show(&mut self, event: &PullEvent) -> Result<(), Failure> {
        if let Some(line) = self.line(event) {
            tell(&line.to_string());
        }
        Ok(())
    }
}

fn word(step: PullStep) -> &'static str {
    match step {
        PullStep::Waiting => "waiting",
        PullStep::Downloading => "downloading",
        PullStep::Unpacking => "unpacking",
        PullStep::Done => "done",
    }
}

/// A bar per layer.
struct Bars {
    all: MultiProgress,
    layers: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), layers: HashMap::new() }
    }

    fn begin(&mut self, layers: &[PullLayer]) {
        for layer in layers {
            let bar = self.all.add(ProgressBar::new(layer.size).with_style(counting()));
            bar.set_prefix(text::short_digest(&layer.digest).to_owned());
            bar.set_message(word(PullStep::Waiting));
            self.layers.insert(layer.digest.clone(), bar);
        }
    }

    fn advance(&self, digest: &str, step: PullStep, current: u64, total: u64) {
        let Some(bar) = self.layers.get(digest) else { return };
        if bar.is_finished() {
            return;
        }
        bar.set_message(word(step));
        match step {
            PullStep::Done => {
                bar.disable_steady_tick();
                bar.set_style(counting());
                bar.set_position(bar.length().unwrap_or(0));
                bar.finish();
            }
            PullStep::Unpacking if total == 0 => {
                bar.set_style(spinning());
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            PullStep::Waiting => {}
            PullStep::Downloading | PullStep::Unpacking => {
                if total > 0 {
                    bar.set_length(total);
                }
                bar.set_position(current);
            }
        }
    }
}

impl Display for Bars {
    fn show(&mut self, event: &PullEvent) -> Result<(), Failure> {
        match event {
            PullEvent::Manifest { layers, .. } => self.begin(layers),
            PullEvent::Progress { digest, step, current, total } => self.advance(digest, *step, *current, *total),
            PullEvent::Done { .. } => self.layers.values().for_each(|bar| {
                if !bar.is_finished() {
                    bar.set_message(word(PullStep::Done));
                    bar.set_position(bar.length().unwrap_or(0));
                    bar.finish();
                }
            }),
            PullEvent::Failed { .. } => self.layers.values().for_each(ProgressBar::abandon),
        }
        Ok(())
    }
}

fn counting() -> ProgressStyle {
    let style = "{prefix}  {msg:11}  [{bar:32}]  {binary_bytes:>10} / {binary_total_bytes}";
    ProgressStyle::with_template(style).expect("the template is a constant that a test renders").progress_chars("=> ")
}

fn spinning() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}  {msg:11}  {spinner}")
        .expect("the template is a constant that a test renders")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressDrawTarget;

    const LAYER: &str = "sha256:11aa22bb33cc44dd55ee66ff";

    fn manifest() -> PullEvent {
        PullEvent::Manifest {
            digest: "sha256:99887766554433221100".into(),
            layers: vec![PullLayer { digest: LAYER.into(), size: 4 << 20 }],
        }
    }

    fn progress(step: PullStep, current: u64) -> PullEvent {
        PullEvent::Progress { digest: LAYER.into(), step, current, total: 4 << 20 }
    }

    #[test]
    fn without_a_terminal_each_step_is_one_line() {
        let mut lines = Lines::default();
        let events = [
            manifest(),
            progress(PullStep::Waiting, 0),
            progress(PullStep::Downloading, 10),
            progress(PullStep::Downloading, 20),
            progress(PullStep::Unpacking, 0),
            progress(PullStep::Done, 0),
        ];
        let text: Vec<_> = events.iter().filter_map(|e| lines.line(e)).collect();
        assert_eq!(
            text,
            [
                "manifest 998877665544: 1 layer, 4 MiB",
                "layer 11aa22bb33cc: downloading 4 MiB",
                "layer 11aa22bb33cc: unpacking",
                "layer 11aa22bb33cc: done"
            ]
        );
    }

    #[test]
    fn on_a_terminal_each_layer_has_a_bar() {
        let mut bars = Bars::new();
        bars.all.set_draw_target(ProgressDrawTarget::hidden());
        bars.show(&manifest()).unwrap();
        bars.show(&progress(PullStep::Downloading, 2 << 20)).unwrap();
        let bar = bars.layers[LAYER].clone();
        assert_eq!((bar.prefix().as_str(), bar.message().as_str()), ("11aa22bb33cc", "downloading"));
        assert_eq!((bar.position(), bar.length()), (2 << 20, Some(4 << 20)));
        bars.show(&progress(PullStep::Done, 0)).unwrap();
        bars.show(&progress(PullStep::Downloading, 1)).unwrap();
        assert_eq!((bar.position(), bar.is_finished()), (4 << 20, true));
        spinning();
    }
}
