//! `kdistro image`: looks at the images of a release, exports one, starts one.

use std::ffi::OsStr;

use jiff::Timestamp;
use kdistro_container::StepError;
use kdistro_formats::{Digest, Platform, failure::Failure, layout, release::Release};
use kdistro_verify::{
    check::Outcome,
    hash::sha256,
    store::{self, Reader},
};

use serde::Serialize;
use serde_json::json;

use super::{
    Answer, Result,
    find::find,
    output::{print_bytes, print_json, say},
    rebuild::verify,
};
use crate::{
    cli::{ExportArgs, ImageCommand, ImageFormat, RunArgs},
    context::Context,
    image::{
        self, ImageError, Images, PlatformImage, export,
        inspect::{self, Facts},
        run::{self, Start},
    },
    report::printable,
};

pub(super) fn run(context: &Context, command: &ImageCommand) -> Result {
    let of = command.of();
    let (reader, name) = find(context, &of.release, of.store.as_deref())?;
    let reader = reader.as_ref();
    let mut verified = None;
    if let Some(key) = &of.key {
        let report = verify(context, reader, &name, key)?;
        if report.outcome != Outcome::Verified {
            return Ok(report.outcome.into());
        }
        verified = report.manifest_digest;
    } else {
        context.reporter.note(format!("{name} is taken as it is: --key checks who signed it"));
    }
    let release = read(reader, &name, verified.as_ref())?;
    match command {
        ImageCommand::Inspect { image, .. } => {
            inspect(context, (reader, &release), image.as_deref())
        }
        ImageCommand::Export(arguments) => export(context, (reader, &release), arguments),
        ImageCommand::Run(arguments) => start(context, (reader, &release), arguments),
    }
}

/// Reads the manifest of a release, which must be the one that was verified: a store may answer otherwise the second
/// time.
fn read(reader: &dyn Reader, name: &str, verified: Option<&Digest>) -> Result<Release> {
    let bytes = store::read(reader, name, layout::LARGEST_DOCUMENT)
        .map_err(|error| format!("cannot read {name} in {}: {error}", reader.place()))?;
    let bytes = bytes.ok_or_else(|| format!("{} has no {name}", reader.place()))?;
    if let Some(verified) = verified.filter(|verified| **verified != sha256(&bytes)) {
        return Err(format!("{name} is not what was verified, which had {verified}").into());
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    Ok(Release::from_yaml(&text).map_err(|error| format!("{name}: {error}"))?)
}

fn inspect(
    context: &Context,
    (reader, release): (&dyn Reader, &Release),
    name: Option<&str>,
) -> Result {
    let listed = match name {
        Some(name) => vec![image::find(release, name)?],
        None => image::listed(release),
    };
    let (images, scratch) = (Images::new(reader), context.scratch("image")?);
    let mut facts: Vec<Facts> = Vec::new();
    for listed in &listed {
        context.reporter.progress(format!("reading {}", listed.asset.name));
        facts.push(inspect::inspect(&images, listed, scratch.path())?);
    }
    context.reporter.clear();
    if context.json {
        print_json(&facts)?;
    } else if facts.is_empty() {
        say(context, "the release has no images")?;
    } else {
        let lines = facts.iter().flat_map(Facts::lines).collect::<Vec<_>>();
        say(context, printable(&lines.join("\n")))?;
    }
    Ok(Answer::Yes)
}

fn export(
    context: &Context,
    (reader, release): (&dyn Reader, &Release),
    arguments: &ExportArgs,
) -> Result {
    let listed = image::find(release, &arguments.image)?;
    let images = Images::new(reader);
    let image = images.read(&listed.digest()?)?;
    let platform = arguments.platform.as_ref();
    let (uri, to) = (&listed.image.uri, arguments.to.as_path());
    let shown = match arguments.format {
        ImageFormat::Oci => {
            let only = platform.map(|wanted| image.platform(Some(wanted))).transpose()?;
            let tag = uri.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            export::oci_layout(&images, (&image, only), tag, to)?;
            format!("oci:{}:{tag}", to.display())
        }
        ImageFormat::DockerArchive => {
            let image = image.platform(platform)?;
            let scratch = context.scratch("image")?;
            let named = (uri.as_str(), created(image)?);
            export::docker_tar(&images, image, named, (to, scratch.path()))?;
            format!("docker-archive:{}", to.display())
        }
    };
    context.reporter.clear();
    if context.json {
        print_json(&json!({
            "asset": listed.asset.name, "uri": uri, "digest": listed.digest()?, "written": shown,
        }))?;
    }
    say(context, printable(&format!("{uri} is now {shown}")))?;
    Ok(Answer::Yes)
}

/// Reads when an image was made, in seconds since 1970.
fn created(image: &PlatformImage) -> Result<u64> {
    let Some(created) = &image.config.created else { return Ok(0) };
    let time: Timestamp = created
        .parse()
        .map_err(|error| format!("{}: created: {error}", image.config_blob.digest))?;
    Ok(u64::try_from(time.as_second()).unwrap_or(0))
}

fn start(
    context: &Context,
    (reader, release): (&dyn Reader, &Release),
    arguments: &RunArgs,
) -> Result {
    let listed = image::find(release, &arguments.image)?;
    let images = Images::new(reader);
    let image = images.read(&listed.digest()?)?;
    let host: Platform = context.surroundings.host.platform.parse()?;
    let image = image.platform(Some(arguments.platform.as_ref().unwrap_or(&host)))?;
    let variables = &context.surroundings.variables;
    let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value);
    let path = path.map_or(OsStr::new(""), |path| path);
    let emulator = run::emulator(host.arch(), &image.platform.architecture, path)?;
    context.reporter.progress(format!("starting {}", listed.asset.name));
    let ran = run::run(
        &context.home,
        &images,
        &Start {
            image,
            entrypoint: arguments.entrypoint.as_deref(),
            arguments: &arguments.arguments,
            emulator: emulator.as_deref(),
            seconds: arguments.seconds,
        },
    )?;
    context.reporter.clear();
    let code = ran.code();
    let name = &listed.asset.name;
    let failed = match ran.ended {
        Ok(_) => None,
        Err(StepError::Exited { code }) => {
            context.reporter.note(format!("{name} exited with code {code}"));
            None
        }
        Err(StepError::Signal { signal, name: word }) => {
            context.reporter.note(format!("{name} was ended by signal {signal} ({word})"));
            None
        }
        Err(StepError::TimeLimit { limit }) => Some(ImageError::AtWork(limit)),
        Err(error) => Some(ImageError::Step(error)),
    };
    if context.json {
        print_json(&Started {
            asset: name,
            platform: image.platform_name(),
            code,
            output: String::from_utf8_lossy(&ran.output).into_owned(),
            failure: failed.as_ref().map(|error| Failure::of(error, super::COULD_NOT)),
        })?;
        return Ok(match (failed, code) {
            (Some(_), _) => Answer::Unknown,
            (None, Some(0)) => Answer::Yes,
            (None, _) => Answer::No,
        });
    }
    print_bytes(&ran.output)?;
    match (failed, code) {
        (Some(error), _) => Err(error.into()),
        (None, Some(0)) => Ok(Answer::Yes),
        (None, _) => Ok(Answer::No),
    }
}

/// What a started image did, as `--json` shows it.
#[derive(Serialize)]
struct Started<'a> {
    asset: &'a str,
    platform: String,
    /// Its exit code; none where it did not come to its own end.
    code: Option<i32>,
    output: String,
    #[serde(flatten)]
    failure: Option<Failure>,
}
