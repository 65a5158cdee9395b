//! Queries: which versions there are, and which one a word means.

use super::{Scenario, Stage, scenarios};
use crate::support::go::Go;

pub(super) const TABLE: &[Scenario] = scenarios!(Public:
    get_takes_the_highest_release,
    get_understands_every_kind_of_query,
    get_of_a_branch_or_revision_takes_its_pseudo_version,
    list_shows_versions_in_order,
    list_skips_retracted_versions_and_says_why,
    a_module_that_retracts_its_latest_falls_back,
    a_deprecation_is_reported,
    incompatible_versions_are_found,
    upper_case_paths_are_not_their_lower_case_twins,
    major_versions_live_apart,
    the_longest_module_path_wins,
    a_module_of_pseudo_versions_has_a_latest,
    dated_pseudo_versions_of_a_list_make_a_latest,
    gopkg_in_paths_carry_their_major_version,
    only_prereleases_make_the_highest_one_latest,
    what_is_absent_is_named_in_the_upstreams_words,
);

fn get_takes_the_highest_release(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/alpha"]);
    stage.go.run(&["get", "example.net/alpha"]).ok();
    stage.requires(&["example.net/alpha v1.2.0"]);
    stage.go.run(&["build", "./..."]).ok();
    stage.note_module();
    let sum = stage.go.read("work/go.sum");
    let names: Vec<_> = sum.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    assert_eq!(names, ["example.net/alpha v1.2.0", "example.net/alpha v1.2.0/go.mod"]);
}

fn get_understands_every_kind_of_query(stage: &mut Stage<'_>) {
    let cases = [
        ("v1.0.0", "v1.0.0"),
        ("v1", "v1.2.0"),
        ("v1.0", "v1.0.0"),
        ("latest", "v1.2.0"),
        ("upgrade", "v1.2.0"),
        ("<v1.2.0", "v1.0.0"),
        (">=v1.2.1-0", "v1.3.0-rc.1"),
        ("v1.3.0-rc.1", "v1.3.0-rc.1"),
        ("main", "v1.3.1-0.20240203040506-abcdef012345"),
    ];
    for (query, version) in cases {
        stage.begin(&["example.net/alpha"]);
        let asked = format!("example.net/alpha@{query}");
        stage.go.run(&["get", &asked]).ok();
        assert_eq!(stage.required(), [format!("example.net/alpha {version}")], "{asked}");
    }
    stage.begin(&["example.net/alpha"]);
    stage.go.run(&["get", "example.net/alpha@v1.0.0"]).ok();
    stage.go.run(&["get", "example.net/alpha@patch"]).ok();
    stage.requires(&["example.net/alpha v1.0.0"]);
    stage.go.run(&["get", "example.net/alpha@none"]).ok();
    stage.requires(&[]);
    stage.note_module();
}

fn get_of_a_branch_or_revision_takes_its_pseudo_version(stage: &mut Stage<'_>) {
    let pseudo = "example.net/alpha v1.3.1-0.20240203040506-abcdef012345";
    for query in ["main", "abcdef012345", "abcdef0123456789abcdef0123456789abcdef01"] {
        stage.begin(&["example.net/alpha"]);
        stage.go.run(&["get", &format!("example.net/alpha@{query}")]).ok();
        stage.requires(&[pseudo]);
    }
    stage.note_module();
    stage.go.run(&["get", "example.net/alpha@no-such-branch"]).failed();
}

fn list_shows_versions_in_order(stage: &mut Stage<'_>) {
    stage.begin(&[]);
    let list = |module: &str| stage.go.run(&["list", "-m", "-versions", module]);
    list("example.net/beta").prints(&["example.net/beta v0.9.0 v1.0.0 v1.1.0"]);
    list("example.net/major").prints(&["example.net/major v1.0.0"]);
    list("example.net/major/v2").prints(&["example.net/major/v2 v2.0.0 v2.1.0"]);
    list("example.net/pre").prints(&["example.net/pre v0.1.0-alpha.1 v0.1.0-beta.2"]);
    list("example.net/pseudo").prints(&["example.net/pseudo"]);
    list("example.net/dated").prints(&["example.net/dated"]);
    list("github.com/FixtureCo/UpperCase").prints(&["github.com/FixtureCo/UpperCase v1.0.0 v1.1.0"]);
}

fn list_skips_retracted_versions_and_says_why(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/alpha"]);
    let list = |flags: &[&str]| stage.go.run(&[&["list", "-m", "-versions"], flags, &["example.net/alpha"]].concat());
    list(&[]).prints(&["example.net/alpha v1.0.0 v1.2.0 v1.3.0-rc.1"]);
    list(&["-retracted"]).prints(&["example.net/alpha v1.0.0 v1.1.0 v1.2.0 v1.3.0-rc.1"]);
    let got = stage.go.run(&["get", "example.net/alpha@v1.1.0"]);
    got.ok();
    got.says(&["example.net/alpha@v1.1.0: retracted by module author: loses data"]);
    let list = stage.go.run(&["list", "-m", "-u", "-json=Version,Retracted,Update", "example.net/alpha"]);
    let list = Go::json(&list);
    assert_eq!(list[0]["Retracted"], serde_json::json!(["loses data"]));
    assert_eq!(list[0]["Update"]["Version"], "v1.2.0");
    stage.note_module();
}

fn a_module_that_retracts_its_latest_falls_back(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/retracted"]);
    stage.go.run(&["list", "-m", "-versions", "example.net/retracted"]).prints(&["example.net/retracted v1.0.0"]);
    stage.go.run(&["get", "example.net/retracted@latest"]).ok();
    stage.requires(&["example.net/retracted v1.0.0"]);
    stage.go.run(&["get", "example.net/retracted@v1.0.1"]).says(&["retracted by module author: panics at start"]).ok();
    stage.note_module();
}

fn a_deprecation_is_reported(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/deprecated"]);
    let got = stage.go.run(&["get", "example.net/deprecated@v1.0.0"]);
    got.ok();
    got.says(&["go: module example.net/deprecated is deprecated: use example.net/alpha instead."]);
    let list = stage.go.run(&["list", "-m", "-u", "all"]);
    list.prints(&["example.org/work", "example.net/deprecated v1.0.0 [v1.1.0] (deprecated)"]);
    stage.note_module();
}

fn incompatible_versions_are_found(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/incompat"]);
    let list = stage.go.run(&["list", "-m", "-versions", "example.net/incompat"]);
    list.prints(&["example.net/incompat v1.0.0 v2.0.0+incompatible v3.1.0+incompatible"]);
    stage.go.run(&["get", "example.net/incompat"]).ok();
    stage.requires(&["example.net/incompat v3.1.0+incompatible"]);
    stage.go.run(&["get", "example.net/incompat@v2.0.0+incompatible"]).ok();
    stage.requires(&["example.net/incompat v2.0.0+incompatible"]);
    stage.note_module();
}

fn upper_case_paths_are_not_their_lower_case_twins(stage: &mut Stage<'_>) {
    stage.begin(&["github.com/FixtureCo/UpperCase", "github.com/FixtureCo/UpperCase/SubDir", "github.com/fixtureco/uppercase"]);
    stage.go.run(&["get", "github.com/FixtureCo/UpperCase/SubDir", "github.com/fixtureco/uppercase"]).ok();
    stage.requires(&["github.com/FixtureCo/UpperCase v1.1.0", "github.com/fixtureco/uppercase v1.0.0"]);
    stage.note_module();
}

fn major_versions_live_apart(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/major", "example.net/major/v2"]);
    stage.go.run(&["get", "example.net/major", "example.net/major/v2@v2.0.0"]).ok();
    stage.requires(&["example.net/major v1.0.0", "example.net/major/v2 v2.0.0"]);
    stage.go.run(&["get", "-u", "./..."]).ok();
    stage.requires(&["example.net/major v1.0.0", "example.net/major/v2 v2.1.0"]);
    stage.note_module();
}

fn the_longest_module_path_wins(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/nest/own", "example.net/nest/inner/deep"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.requires(&["example.net/nest v1.0.0", "example.net/nest/inner v1.1.0"]);
    let list = stage.go.run(&["list", "-f", "{{.ImportPath}} {{.Module.Path}}", "example.net/nest/own", "example.net/nest/inner/deep"]);
    list.prints(&["example.net/nest/own example.net/nest", "example.net/nest/inner/deep example.net/nest/inner"]);
    stage.note_module();
}

fn a_module_of_pseudo_versions_has_a_latest(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/pseudo"]);
    stage.go.run(&["get", "example.net/pseudo"]).ok();
    stage.requires(&["example.net/pseudo v0.0.0-20210607080910-ba9876543210"]);
    stage.go.run(&["get", "example.net/pseudo@old"]).ok();
    stage.requires(&["example.net/pseudo v0.0.0-20200101000000-0123456789ab"]);
    let list = stage.go.run(&["list", "-m", "-u", "example.net/pseudo"]);
    list.prints(&["example.net/pseudo v0.0.0-20200101000000-0123456789ab [v0.0.0-20210607080910-ba9876543210]"]);
    stage.note_module();
}

fn dated_pseudo_versions_of_a_list_make_a_latest(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/dated"]);
    stage.go.run(&["get", "example.net/dated"]).ok();
    stage.requires(&["example.net/dated v0.0.0-20230607080910-ba9876543210"]);
    stage.note_module();
}

fn gopkg_in_paths_carry_their_major_version(stage: &mut Stage<'_>) {
    stage.begin(&["gopkg.in/fixture.v2"]);
    stage.go.run(&["get", "gopkg.in/fixture.v2"]).ok();
    stage.requires(&["gopkg.in/fixture.v2 v2.3.0"]);
    stage.note_module();
}

fn only_prereleases_make_the_highest_one_latest(stage: &mut Stage<'_>) {
    stage.begin(&["example.net/pre"]);
    stage.go.run(&["get", "example.net/pre@latest"]).ok();
    stage.requires(&["example.net/pre v0.1.0-beta.2"]);
    stage.note_module();
}

fn what_is_absent_is_named_in_the_upstreams_words(stage: &mut Stage<'_>) {
    stage.begin(&[]);
    stage.go.run(&["get", "example.net/nothing"]).says(&["not found: module example.net/nothing: no such module in the fixture"]).failed();
    stage.go.run(&["get", "example.net/alpha@v1.9.9"]).says(&["v1.9.9: unknown revision"]).failed();
    stage.go.run(&["get", "example.net/gone@v1.0.0"]).says(&["410 Gone", "taken down on request"]).failed();
    stage.go.run(&["get", "example.net/alpha@v9"]).says(&["no matching versions for query \"v9\""]).failed();
}
