//! Which right a user lacks whom a server refused a command within a script: before Redis 7.2 it does not say.

/// What a server without a name for it says, up to 7.0.
const UNNAMED: &str = "The user executing the script can't";

/// What was refused, as a server says it that names it; `None` where it has named it itself, or it cannot be
/// found out. `text` is that of the script.
pub(super) fn named(told: &str, text: &str) -> Option<String> {
    if !told.contains(UNNAMED) {
        return None;
    }
    let commands = match line(told) {
        Some(line) => text.lines().nth(line.checked_sub(1)?).map(of_line)?,
        // Answered by a script that had asked for the error: by the only one of its commands of which it does.
        None => {
            let asked: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("redis.pcall("))
                .collect();
            match asked.as_slice() {
                [one] => of_line(one),
                _ => return None,
            }
        }
    };
    (!commands.is_empty()).then(|| refused(&commands.join(" or ")))
}

/// The words of a server for a command that this user may not give.
pub(super) fn refused(command: &str) -> String {
    format!("this user has no permissions to run the '{command}' command")
}

/// Whether the server has told of such a refusal without the command.
pub(super) fn is_unnamed(told: &str) -> bool {
    told.contains(UNNAMED)
}

/// Where in the script it was: `… on @user_script:39.`, before 7.0 `@user_script: 39: …`.
fn line(told: &str) -> Option<usize> {
    let (_, rest) = told.rsplit_once("@user_script:")?;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// The commands that a line of a script gives, with the subcommand where there is one.
fn of_line(line: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for part in line.split("redis.").skip(1) {
        let Some((_, args)) = part.split_once("call(") else {
            continue;
        };
        let words: Vec<&str> = args.split('\'').skip(1).step_by(2).collect();
        let is_word = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
        let Some(command) = words.first().filter(is_word) else {
            continue;
        };
        let command = match words.get(1).filter(is_word) {
            Some(sub) if *command == "XGROUP" || *command == "XINFO" => format!("{command}|{sub}"),
            _ => (*command).to_owned(),
        };
        commands.push(command.to_lowercase());
    }
    commands.dedup();
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "local x = redis.call('HGET', KEYS[1], 'a')\n\
        if x then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end\n\
        local added = redis.pcall('XADD', KEYS[2], '*', 'data', x)\n\
        return redis.call(x and 'DEL' or 'EXISTS', KEYS[1])";

    #[test]
    fn the_command_is_that_of_the_line_where_the_script_was_refused() {
        let told = |line| {
            format!(
                "{UNNAMED} run this command or subcommand script: 8c21, on @user_script:{line}."
            )
        };
        for (line, command) in [(1, "hget"), (2, "xgroup|destroy"), (3, "xadd"), (4, "del")] {
            assert_eq!(named(&told(line), SCRIPT), Some(refused(command)));
        }
        for line in [0, 5, 99] {
            assert_eq!(named(&told(line), SCRIPT), None);
        }
        let old = format!("Error running script: @user_script: 3: {UNNAMED} run this command");
        assert_eq!(named(&old, SCRIPT), Some(refused("xadd")));
        // Answered as text, by the one command whose error the script asks for.
        assert_eq!(named(UNNAMED, SCRIPT), Some(refused("xadd")));
        assert_eq!(named(UNNAMED, "return redis.call('XADD')"), None);
        assert_eq!(
            named("NOPERM no permissions to run the 'xadd' command", SCRIPT),
            None
        );
    }
}
