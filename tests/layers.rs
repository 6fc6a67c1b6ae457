//! The shape of the source: who imports whom, how long a file is, and whether the documents name what exists.
//!
//! The rules are read from where people read them: the layer tables in `src/lib.rs` and `agent/src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code that a file may have, its unit tests not counted.
const LONGEST_FILE: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

/// All Rust files below a directory, those that hold nothing but tests left out.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display())).flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "tests") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_stem().is_none_or(|n| n != "tests") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file without comments and without its test module, which stands at the end.
fn code(text: &str) -> String {
    let end = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\nmod tests;"].iter().filter_map(|m| text.find(m)).min();
    let text = &text[..end.unwrap_or(text.len())];
    let mut code = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// The top-level modules that code names by `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `$crate::` in a macro is the macro's own module, used by whoever calls it.
        if code[..at].ends_with('$') {
            continue;
        }
        match rest.strip_prefix('{') {
            None => found.extend(word(rest)),
            Some(group) => found.extend(group_heads(group)),
        }
    }
    found
}

/// The first words of the items of `a::b, c::{d, e}, f}…`, up to the brace that closes it.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.extend(word(&group[start..i]));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(word(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The layer table of a crate's documentation: a row number per module, 0 the lowest. Rows are `| L3 | `a`, `b` … |`;
/// what stands in parentheses is explanation.
fn table(documentation: &str) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for line in documentation.lines() {
        let cells: Vec<_> = line.trim_start_matches("//!").trim().trim_matches('|').split('|').map(str::trim).collect();
        let [row, modules] = cells.as_slice() else { continue };
        let Some(row) = row.strip_prefix(['L', 'A']).and_then(|number| number.parse().ok()) else { continue };
        let modules = modules.split('(').next().unwrap_or_default();
        for module in modules.split('`').skip(1).step_by(2) {
            rows.insert(module.to_owned(), row);
        }
    }
    rows
}

/// Imports that the table does not allow, as `from (row) -> to (row): file`. Only the words of row `words` may import
/// each other.
fn forbidden(src: &Path, rows: &BTreeMap<String, usize>, words: Option<usize>) -> Vec<String> {
    // Macros stand at the root of a crate wherever they are written.
    let home = |name: &str| match name {
        "struct_codec" | "enum_codec" => "codec".to_owned(),
        other => other.to_owned(),
    };
    let mut wrong = Vec::new();
    for file in sources(src) {
        let inside = file.strip_prefix(src).expect("sources are below their directory");
        let from = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy();
        let from = from.trim_end_matches(".rs").to_owned();
        if from == "lib" || from == "main" {
            continue;
        }
        let Some(&own) = rows.get(&from) else {
            wrong.push(format!("module `{from}` is in no row of the layer table"));
            continue;
        };
        for to in imports(&code(&read(&file))).iter().map(|name| home(name)).filter(|to| *to != from) {
            match rows.get(&to) {
                Some(&row) if row < own || (row == own && words == Some(row)) => {}
                Some(&row) => wrong.push(format!("{from} (row {own}) -> {to} (row {row}): {}", file.display())),
                None => wrong.push(format!("{from} -> {to}, which is in no row: {}", file.display())),
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn runtime_modules_import_only_from_lower_rows() {
    let src = root().join("src");
    let rows = table(&read(src.join("lib.rs")));
    assert_eq!((rows.get("sys"), rows.get("cli")), (Some(&0), Some(&6)), "the table of src/lib.rs was not understood");
    let wrong = forbidden(&src, &rows, Some(1));
    assert!(wrong.is_empty(), "imports against the layer table of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn agent_modules_import_only_from_lower_rows() {
    let src = root().join("agent/src");
    let rows = table(&read(src.join("lib.rs")));
    assert_eq!(
        (rows.get("store"), rows.get("cli")),
        (Some(&2), Some(&6)),
        "the table of agent/src/lib.rs was not understood"
    );
    let wrong = forbidden(&src, &rows, None);
    assert!(wrong.is_empty(), "imports against the layer table of agent/src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn packages_depend_in_one_direction() {
    let manifest = |dir: &str| {
        let text = read(root().join(dir).join("Cargo.toml"));
        let start = text.rfind("\n[dependencies]").expect("every package has dependencies");
        let section = text[start + 1..].split("\n[").next().unwrap_or_default().to_owned();
        section.lines().filter_map(|l| Some(l.split(['.', ' ', '=']).next()?.to_owned())).collect::<BTreeSet<_>>()
    };
    let ours = ["berth-runtime", "berth-wire", "berth-control-plane", "berth-agent", "berth-test-host"];
    let allowed = [
        (".", vec![]),
        ("wire", vec![]),
        ("control-plane", vec!["berth-wire"]),
        ("agent", vec!["berth-runtime", "berth-wire", "berth-control-plane"]),
        ("tests/host", vec![]),
        ("rootfs-fixtures/probe", vec![]),
    ];
    for (package, may) in allowed {
        for dependency in manifest(package).iter().filter(|d| ours.contains(&d.as_str())) {
            assert!(may.contains(&dependency.as_str()), "package in `{package}` may not depend on {dependency}");
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read_at_once() {
    let mut long = Vec::new();
    for dir in ["src", "agent/src", "control-plane/src", "wire/src", "tests/host/src", "rootfs-fixtures/probe/src"] {
        for file in sources(&root().join(dir)) {
            let lines = code(&read(&file)).lines().count();
            if lines > LONGEST_FILE {
                long.push(format!("{}: {lines} lines", file.strip_prefix(root()).unwrap_or(&file).display()));
            }
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines without tests and comments:\n{}", long.join("\n"));
}

#[test]
fn no_module_is_a_drawer_for_everything() {
    let banned = ["utils", "util", "common", "manager", "helpers", "misc"];
    for dir in ["src", "agent/src", "control-plane/src", "wire/src"] {
        for file in sources(&root().join(dir)) {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            assert!(!banned.contains(&name.as_str()), "{} says nothing by its name", file.display());
        }
    }
}

/// Files of Rust below a directory, those of packages below it left out.
fn files_of_package(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    files
        .chain(dirs.iter().filter(|dir| !dir.join("Cargo.toml").exists()).flat_map(|dir| files_of_package(dir)))
        .collect()
}

/// Cargo makes a program or a library of the file: `top` is the package's `src` or `tests`.
fn is_root_of_crate(top: &Path, file: &Path) -> bool {
    let below = file.strip_prefix(top).expect("a file below");
    let name = below.file_name().expect("a file has a name");
    match (top.ends_with("src"), below.components().count()) {
        (true, 1) => name == "lib.rs" || name == "main.rs",
        (true, 2) => below.starts_with("bin"),
        (false, 1) => true,
        (false, 2) => name == "main.rs",
        _ => false,
    }
}

/// Some file beside or above it names it as a module.
fn is_declared(file: &Path) -> bool {
    let own = file.file_stem().unwrap_or_default().to_string_lossy();
    let (name, dir) = match (&*own, file.parent().expect("a file is somewhere")) {
        ("mod", dir) => {
            (dir.file_name().unwrap_or_default().to_string_lossy(), dir.parent().expect("below the package"))
        }
        (_, dir) => (own, dir),
    };
    let places = [Some(dir), dir.parent()].into_iter().flatten();
    let texts = places.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten()).map(|entry| entry.path());
    let mut texts = texts.filter(|path| path.extension().is_some_and(|e| e == "rs") && path != file).map(read);
    texts.any(|text| text.contains(&format!("mod {name};")) || text.contains(&format!("{name}.rs\"]")))
}

/// A file that nothing declares is not compiled, and its tests are not run.
#[test]
fn every_file_is_a_module_of_something() {
    let mut lost = Vec::new();
    for package in [".", "agent", "wire", "control-plane", "tests/host", "rootfs-fixtures/probe"] {
        for top in ["src", "tests"].map(|part| root().join(package).join(part)) {
            let files = files_of_package(&top).into_iter();
            lost.extend(files.filter(|file| !is_root_of_crate(&top, file) && !is_declared(file)));
        }
    }
    assert!(lost.is_empty(), "modules of nothing, so never compiled: {lost:#?}");
}

#[test]
fn the_architecture_document_names_paths_that_exist() {
    let text = read(root().join("docs/ARCHITECTURE.md"));
    let tops =
        ["src/", "agent/", "wire/", "control-plane/", "tests/", "rootfs-fixtures/", "scripts/", "docs/", "dist/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let missing: Vec<_> = quoted
        .filter(|word| tops.iter().any(|top| word.starts_with(top)) && !word.contains([' ', '*', '<', '{', 'N']))
        .map(|word| word.split([':', '#']).next().unwrap_or(word))
        .filter(|path| !root().join(path).exists())
        .collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names what does not exist: {missing:?}");
}

#[test]
fn imports_are_found_in_paths_groups_and_nested_groups() {
    let text = "use crate::{\n    a::b,\n    c::{d, e},\n    f,\n};\nfn g() -> crate::h::I { $crate::j::k() }\n";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["a", "c", "f", "h"]);
}

#[test]
fn comments_and_tests_are_not_code() {
    let text = "use crate::a;\n/// see [crate::b]\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\n";
    assert_eq!(imports(&code(text)).into_iter().collect::<Vec<_>>(), ["a"]);
}
