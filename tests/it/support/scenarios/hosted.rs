//! Hosted modules: over http from a public owner, over https from private ones, in every way of signing in.

use super::{PRIVATE_PATTERNS, Scenario, Secure, Stage, scenarios};
use crate::support::go::Go;

pub(super) const TABLE: &[Scenario] = scenarios!(Hosted:
    a_public_owners_module_installs_over_http,
    a_stranger_cannot_tell_private_from_absent,
    netrc_signs_in,
    goauth_netrc_signs_in,
    goauth_git_signs_in,
    goauth_command_signs_in,
    wrong_credentials_fail_and_say_so,
    hosted_versions_are_listed,
    hosted_paths_of_every_shape_resolve,
    tidy_and_upgrade_over_hosted_and_public_ones,
    a_build_records_what_is_private_and_what_is_public_in_one_go_sum,
    a_build_over_an_owner_base_is_verified_alike,
    an_unpublished_module_beside_hosted_ones_is_absent,
    hosted_then_direct_never_dials,
    an_owner_base_serves_its_own_and_public_ones,
    a_chain_of_two_owner_bases_serves_both,
    a_workspace_over_hosted_modules,
    a_private_name_is_not_looked_up_at_the_public_database,
);

const APP: &str = "corp.example.com/app/cmd/app";

/// Installs the private app, whose build needs a private and a public module.
fn install_app(stage: &mut Stage<'_>) {
    stage.go.run(&["install", &format!("{APP}@latest")]).ok();
    stage.go.run_installed("app").says(&["app v1.0.0 v1.0.0\n"]).ok();
    stage.note("cache", stage.go.cache());
}

fn a_public_owners_module_installs_over_http(stage: &mut Stage<'_>) {
    stage.go.run(&["install", "corp.example.com/open/tool/cmd/tool@latest"]).ok();
    stage.go.run_installed("tool").says(&["tool v1.0.0 v1.0.0\n"]).ok();
    stage.begin(&["corp.example.com/open/only", "corp.example.com/open/old"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&["corp.example.com/open/old v1.0.0", "corp.example.com/open/only v0.0.0-20240101020304-feedfacecafe"]);
    assert_eq!(
        stage.go.read("gopath/pkg/mod/cache/download/corp.example.com/open/old/@v/v1.0.0.mod"),
        "module corp.example.com/open/old\n"
    );
    stage.note("go.sum", stage.go.read("work/go.sum"));
}

fn a_stranger_cannot_tell_private_from_absent(stage: &mut Stage<'_>) {
    let texts = ["corp.example.com/lib", "corp.example.com/lax"].map(|module| {
        let ran = stage.go.run(&["mod", "download", &format!("{module}@v1.0.0")]);
        ran.says(&["404 Not Found", "private here"]);
        ran.failed().replace(module, "MODULE").replace(&stage.world.base, "BASE")
    });
    assert_eq!(texts[0], texts[1]);
}

fn netrc_signs_in(stage: &mut Stage<'_>) {
    stage.sign_in();
    install_app(stage);
}

fn goauth_netrc_signs_in(stage: &mut Stage<'_>) {
    stage.sign_in();
    stage.go.set("GOAUTH", "netrc");
    install_app(stage);
}

fn goauth_git_signs_in(stage: &mut Stage<'_>) {
    let Secure { base, login, .. } = stage.go_secure();
    let (scheme, machine) = base.split_once("://").expect("a URL");
    stage.go.write("home/.gitconfig", "[credential]\n\thelper = store\n");
    let known = format!("{scheme}://{}:{}@{}\n", login.user, login.password, machine.replace(':', "%3a"));
    stage.go.write("home/.git-credentials", &known);
    let home = stage.go.path("home").display().to_string();
    stage.go.set("GOAUTH", format!("git {home}"));
    install_app(stage);
    // go asked HEAD on the base: 200 keeps the credential, 401 would have erased it.
    assert_eq!(stage.go.read("home/.git-credentials"), known);
}

fn goauth_command_signs_in(stage: &mut Stage<'_>) {
    use base64::Engine as _;
    let Secure { base, login, .. } = stage.go_secure();
    let credential = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", login.user, login.password));
    let script = format!("#!/bin/sh\nprintf '%s\\n\\nAuthorization: Basic %s\\n\\n' '{base}' '{credential}'\n");
    let script = stage.go.script("home/credential", &script);
    stage.go.set("GOAUTH", script.display().to_string());
    install_app(stage);
}

fn wrong_credentials_fail_and_say_so(stage: &mut Stage<'_>) {
    let secure = stage.go_secure();
    stage.go.netrc(secure.machine(), &secure.login.user, "wrong");
    stage.go.run(&["install", &format!("{APP}@latest")]).says(&["401 Unauthorized"]).failed();
    stage.go.run(&["mod", "download", "example.net/alpha@v1.0.0"]).says(&["401 Unauthorized"]).failed();
}

fn hosted_versions_are_listed(stage: &mut Stage<'_>) {
    stage.sign_in();
    stage.begin(&[]);
    let list = |module: &str| stage.go.run(&["list", "-m", "-versions", module]);
    list("corp.example.com/lib").prints(&["corp.example.com/lib v1.0.0 v1.1.0"]);
    list("corp.example.com/lib/v2").prints(&["corp.example.com/lib/v2 v2.0.0"]);
    list("corp.example.com/data/etl").prints(&["corp.example.com/data/etl v0.1.0 v0.2.0-pre"]);
    list("corp.example.com/open/only").prints(&["corp.example.com/open/only"]);
    let ran = stage.go.run(&["list", "-m", "corp.example.com/data/etl@latest", "corp.example.com/open/only@latest"]);
    ran.prints(&["corp.example.com/data/etl v0.1.0", "corp.example.com/open/only v0.0.0-20240101020304-feedfacecafe"]);
    let ran = stage.go.run(&["list", "-m", "corp.example.com/open/only@feedfacecafe"]);
    ran.prints(&["corp.example.com/open/only v0.0.0-20240101020304-feedfacecafe"]);
}

fn hosted_paths_of_every_shape_resolve(stage: &mut Stage<'_>) {
    stage.sign_in();
    stage.begin(&[
        "corp.example.com/lib/sub",
        "corp.example.com/lib/v2",
        "corp.example.com/lib/nested",
        "corp.example.com/Upper/CASE",
        "github.com/acme/secret-lib",
    ]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.go.run(&["build", "./..."]).ok();
    stage.requires(&[
        "corp.example.com/Upper/CASE v1.0.0",
        "corp.example.com/lib v1.1.0",
        "corp.example.com/lib/nested v1.0.0",
        "corp.example.com/lib/v2 v2.0.0",
        "github.com/acme/secret-lib v1.0.0",
    ]);
    stage.note_module();
}

fn tidy_and_upgrade_over_hosted_and_public_ones(stage: &mut Stage<'_>) {
    stage.sign_in();
    stage.begin(&["corp.example.com/data/etl", "example.net/beta"]);
    stage.go.run(&["get", "corp.example.com/data/etl", "example.net/beta@v1.0.0"]).ok();
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&[
        "corp.example.com/data/etl v0.1.0",
        "corp.example.com/lib v1.0.0",
        "example.net/alpha v1.0.0",
        "example.net/beta v1.0.0",
    ]);
    let all = [
        "example.org/work",
        "corp.example.com/data/etl v0.1.0",
        "corp.example.com/lib v1.0.0 [v1.1.0]",
        "example.net/alpha v1.0.0 [v1.2.0]",
        "example.net/beta v1.0.0 [v1.1.0]",
    ];
    stage.go.run(&["list", "-m", "-u", "all"]).prints(&all);
    stage.go.run(&["get", "-u", "./..."]).ok();
    stage.requires(&[
        "corp.example.com/data/etl v0.1.0",
        "corp.example.com/lib v1.1.0",
        "example.net/alpha v1.2.0",
        "example.net/beta v1.1.0",
    ]);
    stage.go.run(&["build", "./..."]).ok();
    stage.go.run(&["mod", "verify"]).ok();
    stage.note_module();
}

/// Builds what imports these, from nothing but their names, and verifies all that go.sum then says.
fn record_and_verify(stage: &mut Stage<'_>, imports: &[&str]) {
    let flags = stage.go.get("GOFLAGS").to_owned();
    stage.go.set("GOFLAGS", format!("{flags} -mod=mod"));
    stage.begin(imports);
    stage.go.run(&["build", "./..."]).ok();
    stage.go.run(&["mod", "verify"]).prints(&["all modules verified"]);
    stage.note_module();
    stage.go.set("GOFLAGS", flags);
}

fn a_build_records_what_is_private_and_what_is_public_in_one_go_sum(stage: &mut Stage<'_>) {
    stage.sign_in();
    record_and_verify(stage, &["corp.example.com/data/etl", "example.net/nogomod"]);
    let both =
        ["corp.example.com/data/etl v0.1.0", "corp.example.com/lib v1.0.0", "example.net/alpha v1.0.0", "example.net/nogomod v1.0.0"];
    stage.requires(&both);
    let recorded: Vec<_> = both.iter().flat_map(|name| [(*name).to_owned(), format!("{name}/go.mod")]).collect();
    let sum = stage.go.read("work/go.sum");
    assert_eq!(sum.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect::<Vec<_>>(), recorded);
    let [etl, lib, alpha, nogomod] = both.map(|name| name.replace(' ', "@"));
    stage.looked_up(&[&etl, &lib], &[&alpha, &nogomod]);
    // On a machine that has nothing, go.sum says all that the build needs.
    stage.go.run(&["clean", "-modcache"]).ok();
    stage.go.run(&["build", "./..."]).ok();
    stage.go.run(&["mod", "verify"]).prints(&["all modules verified"]);
}

fn a_build_over_an_owner_base_is_verified_alike(stage: &mut Stage<'_>) {
    let secure = stage.sign_in();
    stage.go.set("GOPROXY", owner(&secure, "platform"));
    record_and_verify(stage, &["corp.example.com/lib/sub", "example.net/beta"]);
    stage.requires(&["corp.example.com/lib v1.1.0", "example.net/alpha v1.2.0", "example.net/beta v1.1.0"]);
    stage.looked_up(&["corp.example.com/lib@v1.1.0"], &["example.net/alpha@v1.2.0", "example.net/beta@v1.1.0"]);
}

fn an_unpublished_module_beside_hosted_ones_is_absent(stage: &mut Stage<'_>) {
    stage.sign_in();
    let go_mod = "module example.org/work\n\ngo 1.20\n\nrequire (\n\tcorp.example.com/unpublished v0.0.0\n\tcorp.example.com/lib v1.0.0\n\t\
                  example.net/alpha v1.0.0 // indirect\n)\n\nreplace corp.example.com/unpublished => ./unpublished\n";
    stage.go.write("work/go.mod", go_mod);
    stage.go.write("work/unpublished/go.mod", "module corp.example.com/unpublished\n\ngo 1.20\n");
    stage.go.write("work/unpublished/unpublished.go", "package unpublished\n");
    stage.import(&["corp.example.com/unpublished", "corp.example.com/lib"]);
    stage.go.run(&["mod", "tidy"]).ok();
    let all = [
        "example.org/work",
        "corp.example.com/lib v1.0.0 [v1.1.0]",
        "corp.example.com/unpublished v0.0.0 => ./unpublished",
        "example.net/alpha v1.0.0 [v1.2.0]",
    ];
    stage.go.run(&["list", "-m", "-u", "all"]).prints(&all);
    stage.go.run(&["get", "-u", "./..."]).ok();
    stage.requires(&["corp.example.com/lib v1.1.0", "corp.example.com/unpublished v0.0.0", "example.net/alpha v1.2.0"]);
    stage.note_module();
}

fn hosted_then_direct_never_dials(stage: &mut Stage<'_>) {
    let secure = stage.sign_in();
    stage.go.set("GOPROXY", format!("{},direct", secure.base));
    install_app(stage);
    stage.begin(&["corp.example.com/lib/sub", "example.net/nest/inner/deep"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&["corp.example.com/lib v1.1.0", "example.net/nest/inner v1.1.0"]);
    assert_eq!(stage.go.dialled(), [""; 0]);
}

/// The base of an owner's registry.
fn owner(secure: &Secure, owner: &str) -> String {
    format!("{}/api/packages/{owner}/go", secure.base)
}

fn an_owner_base_serves_its_own_and_public_ones(stage: &mut Stage<'_>) {
    let secure = stage.sign_in();
    stage.go.set("GOPROXY", owner(&secure, "platform"));
    install_app(stage);
    let ran = stage.go.run(&["mod", "download", "corp.example.com/data/etl@v0.1.0"]);
    ran.says(&["404 Not Found"]).failed();
    stage.go.run(&["mod", "download", "example.net/major/v2@v2.1.0"]).ok();
}

fn a_chain_of_two_owner_bases_serves_both(stage: &mut Stage<'_>) {
    let secure = stage.sign_in();
    stage.go.set("GOPROXY", format!("{},{}", owner(&secure, "platform"), owner(&secure, "data")));
    stage.begin(&["corp.example.com/data/etl", "example.net/beta"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.go.run(&["build", "./..."]).ok();
    stage.requires(&[
        "corp.example.com/data/etl v0.1.0",
        "corp.example.com/lib v1.0.0",
        "example.net/alpha v1.2.0",
        "example.net/beta v1.1.0",
    ]);
    stage.note_module();
}

fn a_workspace_over_hosted_modules(stage: &mut Stage<'_>) {
    stage.sign_in();
    for (module, dependency) in [("one", "corp.example.com/lib v1.0.0"), ("two", "corp.example.com/lib v1.1.0")] {
        stage.go.write(&format!("work/{module}/go.mod"), &format!("module example.org/{module}\n\ngo 1.20\n\nrequire {dependency}\n"));
        stage.go.write(&format!("work/{module}/{module}.go"), &format!("package {module}\n\nimport _ \"corp.example.com/lib\"\n"));
    }
    stage.go.run(&["work", "init", "./one", "./two"]).ok();
    stage.go.run(&["build", "./one/...", "./two/..."]).ok();
    let all = stage.go.run(&["list", "-m", "all"]);
    all.prints(&["example.org/one", "example.org/two", "corp.example.com/lib v1.1.0", "example.net/alpha v1.0.0"]);
    stage.note("go.work.sum", stage.go.read("work/go.work.sum"));
}

fn a_private_name_is_not_looked_up_at_the_public_database(stage: &mut Stage<'_>) {
    stage.sign_in();
    // A client that keeps the public database, and has not said yet what is private.
    stage.go.set("GOSUMDB", stage.world.public_sumdb.clone()).set("GONOSUMDB", "");
    let module = "corp.example.com/lib@v1.0.0";
    stage.go.run(&["mod", "download", module]).says(&["403 Forbidden", "GONOSUMDB"]).failed();
    stage.go.set("GONOSUMDB", PRIVATE_PATTERNS);
    let ran = stage.go.run(&["mod", "download", "-json", module]);
    stage.note("sum", Go::json(&ran)[0]["Sum"].to_string());
}
