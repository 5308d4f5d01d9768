//! `kdistro image`: looks at the images of a release, exports one, starts one.

use std::ffi::OsStr;

use jiff::Timestamp;
use kdistro_container::StepError;
use kdistro_formats::{Platform, layout, release::Release};
use kdistro_verify::store::{self, Reader};

use super::{
    Answer, Result, diff,
    output::{print, print_bytes, print_json},
    plan::proxy,
};
use crate::{
    cli::{ExportArgs, ImageCommand, ImageFormat, ImageOf, RunArgs},
    context::Context,
    image::{
        self, ImageError, Images, PlatformImage, export,
        inspect::{self, Facts},
        run::{self, Start},
    },
    report::printable,
};

/// The largest manifest of a release that is read.
const LARGEST_MANIFEST: u64 = 64 << 20;

pub(super) fn run(context: &Context, command: &ImageCommand) -> Result {
    match command {
        ImageCommand::Inspect { of, image } => inspect(context, of, image.as_deref()),
        ImageCommand::Export(arguments) => export(context, arguments),
        ImageCommand::Run(arguments) => start(context, arguments),
    }
}

/// Reads the manifest of a release, and opens its store.
fn open(context: &Context, of: &ImageOf) -> Result<(Box<dyn Reader>, Release)> {
    let (reader, name) = match (&of.store, of.release.parse()) {
        (None, _) => diff::locate(context, &of.release)?,
        (Some(store), Ok(name)) => {
            (store::open(store, proxy(context).as_deref())?, layout::manifest(&name))
        }
        (Some(store), Err(_)) => {
            store::locate(&of.release, Some(store), proxy(context).as_deref())?
        }
    };
    let bytes = store::read(reader.as_ref(), &name, LARGEST_MANIFEST)
        .map_err(|error| format!("cannot read {name} in {}: {error}", reader.place()))?;
    let bytes = bytes.ok_or_else(|| format!("{} has no {name}", reader.place()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    let release = Release::from_yaml(&text).map_err(|error| format!("{name}: {error}"))?;
    context
        .reporter
        .note(format!("{name} is taken as it is: `kdistro-verify` checks who signed it"));
    Ok((reader, release))
}

fn inspect(context: &Context, of: &ImageOf, name: Option<&str>) -> Result {
    let (reader, release) = open(context, of)?;
    let listed = match name {
        Some(name) => vec![image::find(&release, name)?],
        None => image::listed(&release),
    };
    let (images, scratch) = (Images::new(reader.as_ref()), context.home.scratch("image")?);
    let mut facts: Vec<Facts> = Vec::new();
    for listed in &listed {
        context.reporter.progress(format!("reading {}", listed.asset.name));
        facts.push(inspect::inspect(&images, listed, scratch.path())?);
    }
    context.reporter.clear();
    if context.json {
        print_json(&facts)?;
    } else if facts.is_empty() {
        print("the release has no images")?;
    } else {
        print(printable(&facts.iter().flat_map(Facts::lines).collect::<Vec<_>>().join("\n")))?;
    }
    Ok(Answer::Yes)
}

fn export(context: &Context, arguments: &ExportArgs) -> Result {
    let (reader, release) = open(context, &arguments.of)?;
    let listed = image::find(&release, &arguments.image)?;
    let images = Images::new(reader.as_ref());
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
            let scratch = context.home.scratch("image")?;
            let named = (uri.as_str(), created(image)?);
            export::docker_tar(&images, image, named, (to, scratch.path()))?;
            format!("docker-archive:{}", to.display())
        }
    };
    context.reporter.clear();
    if context.json {
        print_json(&serde_json::json!({ "image": uri, "written": shown }))?;
    } else {
        print(printable(&format!("{uri} is now {shown}")))?;
    }
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

fn start(context: &Context, arguments: &RunArgs) -> Result {
    let (reader, release) = open(context, &arguments.of)?;
    let listed = image::find(&release, &arguments.image)?;
    let images = Images::new(reader.as_ref());
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
    if context.json {
        let output = String::from_utf8_lossy(&ran.output);
        print_json(&serde_json::json!({ "code": ran.code(), "output": output }))?;
    } else {
        print_bytes(&ran.output)?;
    }
    let name = &listed.asset.name;
    match ran.ended {
        Ok(_) => return Ok(Answer::Yes),
        Err(StepError::Exited { code }) => {
            context.reporter.note(format!("{name} exited with code {code}"));
        }
        Err(StepError::Signal { signal, name: word }) => {
            context.reporter.note(format!("{name} was ended by signal {signal} ({word})"));
        }
        Err(StepError::TimeLimit { limit }) => return Err(ImageError::AtWork(limit).into()),
        Err(error) => return Err(ImageError::Step(error).into()),
    }
    Ok(Answer::No)
}
