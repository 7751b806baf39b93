//! Who and when, for the ledger.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// Now, as `YYYY-MM-DD hh:mm:ss UTC`.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970-01-01.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The system's name of the user whom this process acts for.
pub(super) fn user() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let logged_in = || variable("USER").or_else(|| variable("LOGNAME"));
    #[cfg(unix)]
    {
        // SAFETY: `geteuid` takes nothing, reads nothing of ours and cannot fail.
        let id = unsafe { libc::geteuid() }.to_string();
        // The file and not the C library, which may ask a server.
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == id).then(|| name.to_owned())
        });
        name.or_else(logged_in).unwrap_or_else(|| format!("user {id}"))
    }
    #[cfg(not(unix))]
    logged_in().or_else(|| variable("USERNAME")).unwrap_or_else(|| "unknown".to_owned())
}
