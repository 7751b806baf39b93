//! `promptmix man`: man pages.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, CommandFactory as _};

use super::{Cli, error::CommandError};

#[derive(Args)]
pub(super) struct ManArgs {
    /// Write the pages of all commands to this folder instead of printing the main page
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let Some(folder) = &args.to else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return Ok(io::stdout().write_all(&page)?);
    };
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().map_err(|source| {
        CommandError::new(
            format!("cannot write the man pages to {}", folder.display()),
            "give a folder that you may write to, for example ~/.local/share/man/man1",
        )
        .caused_by(source)
    })?;
    println!("{}", folder.display());
    Ok(())
}
