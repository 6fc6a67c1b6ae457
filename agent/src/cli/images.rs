//! `berth images`: what is in the image store.

use super::Context;
use super::client::escape;
use super::failure::Failure;
use super::table::{Align, Table};
use super::{terminal, text};
use crate::api::types::{ImageView, Removed};
use http::Method;
use std::process::ExitCode;

/// Flags of `berth images`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// Remove these from the store instead; those in use are refused
    #[arg(long, value_name = "REFERENCE", num_args = 1..)]
    rm: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists the images, or removes some.
pub(crate) async fn run(context: &Context, args: &ImagesArgs) -> Result<ExitCode, Failure> {
    if !args.rm.is_empty() {
        for reference in &args.rm {
            let path = format!("/v1/images/{}", escape(reference));
            let _: Removed = context.client.call(Method::DELETE, &path, None::<&()>).await?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let images: Vec<ImageView> = context.client.get("/v1/images").await?;
    if args.json {
        terminal::print_json(&images)?;
    } else {
        terminal::print(&table(&images, text::now_ms()).render(terminal::width()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(images: &[ImageView], now_ms: u64) -> Table {
    let mut table = Table::new(&[
        ("IMAGE", Align::Left),
        ("DIGEST", Align::Left),
        ("LAYERS", Align::Right),
        ("SIZE", Align::Right),
        ("PULLED", Align::Left),
        ("USED BY", Align::Left),
    ]);
    for image in images {
        table.row([
            image.reference.clone(),
            text::short_digest(&image.digest).to_owned(),
            image.layers.to_string(),
            text::bytes(image.size_bytes),
            image.pulled_at_ms.map(|then| text::ago(then, now_ms)).unwrap_or_default(),
            match image.used_by.len() {
                0 => String::new(),
                n => text::count(n, "container"),
            },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_for_people() {
        let image = ImageView {
            reference: "127.0.0.1:5000/nginx:1".into(),
            digest: "sha256:11aa22bb33cc44dd55ee66ff".into(),
            size_bytes: 14_680_064,
            layers: 3,
            pulled_at_ms: Some(1_000),
            used_by: vec!["t.web".into()],
        };
        assert_eq!(
            table(&[image], 126_000).render(None),
            "\
IMAGE                    DIGEST         LAYERS     SIZE   PULLED      USED BY
127.0.0.1:5000/nginx:1   11aa22bb33cc        3   14 MiB   2m 5s ago   1 container
"
        );
    }
}
