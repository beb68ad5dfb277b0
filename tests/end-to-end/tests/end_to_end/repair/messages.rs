//! What is said, and with which code.

use anyhow::Result;
use millstream_end_to_end::NodeCommand;

use super::damaged;
use crate::scene::millstream;

#[test]
fn each_state_that_is_not_repaired_has_its_message_and_its_code() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let path = damaged(&data)?;
    let text = data.display().to_string();
    let said = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = millstream(&[&["log", "repair"], words].concat())?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let (code, shown) = said(&[&text, "--log", "t-0"])?;
    assert_eq!(code, Some(1), "{shown}");
    for part in [
        &*path.display().to_string(),
        "offsets 6 to 8",
        " UTC",
        "compacted",
        "nothing was changed",
        &format!("millstream log repair {text} --log t-0 --accept-loss"),
    ] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    for (log, dir, code, part) in [
        ("t-1", &*text, 4, "there is no log t-1"),
        (
            "__cluster_metadata-0",
            &*text,
            4,
            "nothing is damaged in __cluster_metadata-0",
        ),
        ("t-0", "/nowhere", 4, "/nowhere"),
    ] {
        for extra in [&[][..], &["--accept-loss"]] {
            let (found, said) = said(&[&[dir, "--log", log], extra].concat())?;
            assert_eq!(found, Some(code), "{log} {dir} {extra:?}: {said}");
            assert!(said.contains(part), "{said}");
        }
    }
    let node = NodeCommand::serve(&data).start()?;
    let (code, said_beside) = said(&[&text, "--log", "t-0", "--accept-loss"])?;
    assert_eq!(code, Some(3), "{said_beside}");
    assert!(said_beside.contains("stop it first"), "{said_beside}");
    let (code, shown_beside) = said(&[&text, "--log", "t-0"])?;
    assert_eq!(code, Some(1), "{shown_beside}");
    assert!(shown_beside.contains("offsets 6 to 8"), "{shown_beside}");
    drop(node);
    Ok(())
}
