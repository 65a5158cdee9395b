//! Whole builds: download, install, tidy, upgrade, workspaces, and what the checksum database vouches for.

use super::{Scenario, Stage, scenarios};
use crate::support::go::Go;
use crate::support::process::Ran;

pub(super) const TABLE: &[Scenario] = scenarios!(Public:
    download_prints_what_it_kept,
    download_shows_the_origin,
    download_of_all_fills_the_cache,
    install_latest,
    install_a_version,
    install_a_branch,
    run_a_version,
    tidy_finds_what_is_imported,
    get_u_upgrades_everything,
    a_workspace_resolves_over_its_modules,
    updates_are_listed_beside_an_unpublished_replacement,
    a_module_without_go_mod_is_given_one,
    a_vendored_build_is_whole,
    a_toolchain_is_always_checked,
    what_the_checksum_database_does_not_vouch_for_is_refused,
);

fn download_prints_what_it_kept(stage: &mut Stage<'_>) {
    let ran = stage.go.run(&["mod", "download", "-json", "example.net/beta@v1.1.0", "github.com/FixtureCo/UpperCase@latest"]);
    let modules = Go::json(&ran);
    let names: Vec<_> = modules.iter().map(|m| format!("{}@{}", m["Path"], m["Version"])).collect();
    assert_eq!(names, [r#""example.net/beta"@"v1.1.0""#, r#""github.com/FixtureCo/UpperCase"@"v1.1.0""#]);
    for module in &modules {
        for kept in ["Info", "GoMod", "Zip"] {
            let file = module[kept].as_str().expect("a path");
            assert!(std::path::Path::new(file).is_file(), "{kept} is not there: {module}");
        }
        assert!(module["Error"].is_null(), "{module}");
        stage.note(&format!("sum of {}", module["Path"]), format!("{} {}", module["Sum"], module["GoModSum"]));
    }
    stage.note("cache", stage.go.cache());
}

fn download_shows_the_origin(stage: &mut Stage<'_>) {
    let ran = stage.go.run(&["mod", "download", "-json", "example.net/origin@v1.0.0"]);
    let module = &Go::json(&ran)[0];
    let origin = serde_json::json!({
        "VCS": "git",
        "URL": "https://example.net/origin",
        "Hash": "00112233445566778899aabbccddeeff00112233",
        "Ref": "refs/tags/v1.0.0",
    });
    assert_eq!(module["Origin"], origin);
    stage.note("cache", stage.go.cache());
}

fn download_of_all_fills_the_cache(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/beta", "example.net/major/v2"]);
    stage.go.run(&["get", "example.net/beta", "example.net/major/v2"]).ok();
    stage.go.run(&["clean", "-modcache"]).ok();
    let modules = Go::json(&stage.go.run(&["mod", "download", "-json"]));
    let mut names: Vec<_> = modules.iter().map(|m| format!("{} {}", m["Path"], m["Version"]).replace('"', "")).collect();
    names.sort();
    assert_eq!(names, ["example.net/alpha v1.2.0", "example.net/beta v1.1.0", "example.net/major/v2 v2.1.0"]);
    stage.go.run(&["mod", "verify"]).prints(&["all modules verified"]);
    stage.note_module();
}

fn hello(stage: &mut Stage<'_>, command: &str, query: &str, says: &str) {
    stage.go.run(&["install", &format!("example.net/tools/cmd/{command}@{query}")]).ok();
    stage.go.run_installed(command).says(&[says]).ok();
    stage.note("cache", stage.go.cache());
}

fn install_latest(stage: &mut Stage<'_>) {
    hello(stage, "hello", "latest", "hello v1.1.0 v1.1.0 v1.2.0\n");
}

fn install_a_version(stage: &mut Stage<'_>) {
    hello(stage, "hello", "v1.0.0", "hello v1.0.0 v1.0.0 v1.0.0\n");
}

fn install_a_branch(stage: &mut Stage<'_>) {
    hello(stage, "hello", "dev", "hello v1.1.1-0.20240506070809-0badc0ffee00 v1.0.0 v1.0.0\n");
}

fn run_a_version(stage: &mut Stage<'_>) {
    stage.go.run(&["run", "example.net/tools/cmd/hello@v1.1.0"]).says(&["hello v1.1.0 v1.1.0 v1.2.0\n"]).ok();
}

fn tidy_finds_what_is_imported(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/beta", "example.net/nest/inner", "example.net/pseudo", "example.net/incompat"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&[
        "example.net/alpha v1.2.0",
        "example.net/beta v1.1.0",
        "example.net/incompat v3.1.0+incompatible",
        "example.net/nest/inner v1.1.0",
        "example.net/pseudo v0.0.0-20210607080910-ba9876543210",
    ]);
    stage.import(&["example.net/beta"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&["example.net/alpha v1.2.0", "example.net/beta v1.1.0"]);
    stage.go.run(&["build", "./..."]).ok();
    stage.note_module();
}

fn get_u_upgrades_everything(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/beta", "example.net/major/v2"]);
    stage.go.run(&["get", "example.net/beta@v0.9.0", "example.net/major/v2@v2.0.0"]).ok();
    stage.requires(&["example.net/alpha v1.0.0", "example.net/beta v0.9.0", "example.net/major/v2 v2.0.0"]);
    stage.go.run(&["get", "-u", "./..."]).ok();
    stage.requires(&["example.net/alpha v1.2.0", "example.net/beta v1.1.0", "example.net/major/v2 v2.1.0"]);
    stage.go.run(&["get", "-u=patch", "./..."]).ok();
    stage.note_module();
}

fn a_workspace_resolves_over_its_modules(stage: &mut Stage<'_>) {
    for (module, dependency) in [("one", "example.net/alpha v1.0.0"), ("two", "example.net/beta v1.1.0")] {
        let (path, _) = dependency.split_once(' ').expect("path and version");
        stage.go.write(&format!("work/{module}/go.mod"), &format!("module example.org/{module}\n\ngo 1.20\n\nrequire {dependency}\n"));
        stage.go.write(&format!("work/{module}/{module}.go"), &format!("package {module}\n\nimport _ \"{path}\"\n"));
    }
    stage.go.run(&["work", "init", "./one", "./two"]).ok();
    stage.go.run(&["build", "./one/...", "./two/..."]).ok();
    let all = stage.go.run(&["list", "-m", "all"]);
    all.prints(&["example.org/one", "example.org/two", "example.net/alpha v1.2.0", "example.net/beta v1.1.0"]);
    stage.go.run(&["work", "sync"]).ok();
    stage.note("go.work.sum", stage.go.read("work/go.work.sum"));
    stage.note("one/go.mod", stage.go.read("work/one/go.mod"));
    stage.note("cache", stage.go.cache());
}

fn updates_are_listed_beside_an_unpublished_replacement(stage: &mut Stage<'_>) {
    let go_mod = "module example.org/work\n\ngo 1.20\n\nrequire (\n\tcorp.example.com/unpublished v0.0.0\n\texample.net/beta v1.0.0\n\t\
                  example.net/alpha v1.0.0 // indirect\n)\n\nreplace corp.example.com/unpublished => ./unpublished\n";
    stage.go.write("work/go.mod", go_mod);
    stage.go.write("work/unpublished/go.mod", "module corp.example.com/unpublished\n\ngo 1.20\n");
    stage.go.write("work/unpublished/unpublished.go", "package unpublished\n");
    stage.import(&["corp.example.com/unpublished", "example.net/beta"]);
    stage.go.run(&["mod", "tidy"]).ok();
    let all = [
        "example.org/work",
        "corp.example.com/unpublished v0.0.0 => ./unpublished",
        "example.net/alpha v1.0.0 [v1.2.0]",
        "example.net/beta v1.0.0 [v1.1.0]",
    ];
    stage.go.run(&["list", "-m", "-u", "all"]).prints(&all);
    stage.go.run(&["list", "-m", "-versions", "corp.example.com/unpublished"]).prints(&["corp.example.com/unpublished"]);
    stage.go.run(&["get", "-u", "./..."]).ok();
    stage.requires(&["corp.example.com/unpublished v0.0.0", "example.net/alpha v1.2.0", "example.net/beta v1.1.0"]);
    stage.note_module();
}

fn a_module_without_go_mod_is_given_one(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/nogomod"]);
    stage.go.run(&["get", "example.net/nogomod"]).ok();
    stage.requires(&["example.net/nogomod v1.0.0"]);
    assert_eq!(stage.go.read("gopath/pkg/mod/cache/download/example.net/nogomod/@v/v1.0.0.mod"), "module example.net/nogomod\n");
    stage.note_module();
}

fn a_vendored_build_is_whole(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/beta", "example.net/nest/inner/deep"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.go.run(&["mod", "vendor"]).ok();
    stage.note("modules.txt", stage.go.read("work/vendor/modules.txt"));
    stage.go.set("GOPROXY", "off").set("GOFLAGS", "-mod=vendor -modcacherw");
    stage.go.run(&["build", "./..."]).ok();
}

fn a_toolchain_is_always_checked(stage: &mut Stage<'_>) {
    let toolchain = "golang.org/toolchain@v0.0.1-go1.999fixture.linux-amd64";
    let ran = stage.go.run(&["mod", "download", "-json", toolchain]);
    let module = &Go::json(&ran)[0];
    assert_eq!(module["Version"], "v0.0.1-go1.999fixture.linux-amd64");
    stage.note("sum", module["Sum"].to_string());
    stage.note("cache", stage.go.cache());
    let database = stage.go.get("GOSUMDB").to_owned();
    stage.go.run(&["clean", "-modcache"]).ok();
    // Whatever a client exempts: a toolchain it does not.
    stage.go.set("GOSUMDB", "off");
    stage.go.run(&["mod", "download", toolchain]).failed();
    stage.go.set("GOSUMDB", database).set("GONOSUMDB", "*");
    stage.go.run(&["mod", "download", toolchain]).ok();
    let tampered = "golang.org/toolchain@v0.0.1-go1.999tampered.linux-amd64";
    refused(&stage.go.run(&["mod", "download", tampered]));
}

/// The client refused it, or the gateway already did.
#[track_caller]
fn refused(ran: &Ran) {
    let says = ran.failed();
    assert!(says.contains("SECURITY ERROR") || says.contains("502 Bad Gateway"), "should be about the hash: {ran}");
}

fn what_the_checksum_database_does_not_vouch_for_is_refused(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/tampered"]);
    refused(&stage.go.run(&["get", "example.net/tampered"]));
    stage.requires(&[]);
    assert_eq!(stage.go.read("work/go.sum"), "");
}
