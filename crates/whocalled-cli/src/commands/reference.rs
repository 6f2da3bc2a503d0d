//! The pages of the reference, made from what the program itself goes by.

use clap::CommandFactory;
use whocalled_convert::DEFINITIONS;

use crate::args::{Cli, Page};
use crate::exit::Exit;
use crate::settings::KEYS;

pub(super) fn page(page: Page) -> anyhow::Result<String> {
    Ok(match page {
        Page::Cli => cli(),
        Page::Config => config(),
        Page::Tables => tables() + "\n" + &whocalled_report::reference::views_page()?,
        Page::Reports => whocalled_report::reference::reports_page()?,
        Page::ExitCodes => exit_codes(),
    })
}

fn cli() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut text = format!("# Command line\n\n```text\n{}```\n", root.render_long_help());
    for command in root.get_subcommands_mut().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        let help = command.clone().term_width(100).render_long_help();
        text.push_str(&format!("\n## whocalled {}\n\n```text\n{help}```\n", command.get_name()));
    }
    // The help of some builds ends lines in spaces, which no file of ours does.
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn config() -> String {
    let mut text = String::from(
        "# Settings\n\nA flag comes before an environment variable, and both before `whocalled.toml` in the current \
         directory, or the file that `--config` names. An unknown key is an error. Secrets are taken from the \
         environment only: `WHOCALLED_ACCOUNT_KEY` (a key of the Storage Account), `AZURE_CLIENT_SECRET`, and a SAS in \
         `WHOCALLED_ARCHIVE`. `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_CERTIFICATE_PATH` and \
         `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN` mean what they mean to Azure's own tools; all `AZURE_` variables are handed to the store of a lake at `abfss://`.\n\n\
         | key | example | flag | variable | meaning |\n|---|---|---|---|---|\n",
    );
    for key in KEYS {
        let code = |name: &str| if name.is_empty() { String::new() } else { format!("`{name}`") };
        let (flag, variable) = (code(key.flag), code(key.variable));
        text.push_str(&format!("| `{}` | `{}` | {flag} | {variable} | {} |\n", key.name, key.example, key.about));
    }
    text
}

fn tables() -> String {
    let mut text = String::from("# Tables\n");
    for definition in DEFINITIONS {
        let about = definition.about;
        text.push_str(&format!(
            "\n## {}\n\n{about}\n\n| column | type | from | meaning |\n|---|---|---|---|\n",
            definition.table
        ));
        for column in definition.visible_columns() {
            let from: Vec<String> = column.from.iter().map(|path| format!("`{}`", path.replace('>', " > "))).collect();
            let data_type = match column.kind.data_type().to_string() {
                name if name.starts_with("Timestamp") => "Timestamp(µs, UTC)".to_owned(),
                name => name,
            };
            text.push_str(&format!("| `{}` | {data_type} | {} | {} |\n", column.name, from.join(", "), column.about));
        }
    }
    text
}

fn exit_codes() -> String {
    let mut text = String::from("# Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        text.push_str(&format!("| {} | {} |\n", exit.code(), exit.about()));
    }
    text
}
