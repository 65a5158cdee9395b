//! GOPROXY in every form that people write.

use super::{Scenario, Stage, scenarios};

pub(super) const TABLE: &[Scenario] =
    scenarios!(Public: a_slash_at_the_end_is_no_matter, then_direct, then_off, then_anything_after_a_bar, all_at_once);

fn build(stage: &mut Stage<'_>, goproxy: String) {
    stage.go.set("GOPROXY", goproxy);
    stage.begin(&["example.net/beta"]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.go.run(&["build", "./..."]).ok();
    stage.requires(&["example.net/alpha v1.2.0", "example.net/beta v1.1.0"]);
    assert_eq!(stage.go.dialled(), [""; 0]);
    stage.note_module();
}

fn a_slash_at_the_end_is_no_matter(stage: &mut Stage<'_>) {
    build(stage, format!("{}/", stage.world.base));
}

fn then_direct(stage: &mut Stage<'_>) {
    build(stage, format!("{},direct", stage.world.base));
    // What is not there is looked for at its home: a host that no test lets it reach.
    stage.go.may_dial("nowhere.example");
    stage.go.run(&["get", "nowhere.example/nothing"]).failed();
    assert!(stage.go.dialled().contains(&"nowhere.example".to_owned()));
}

fn then_off(stage: &mut Stage<'_>) {
    build(stage, format!("{},off", stage.world.base));
    stage.go.run(&["get", "example.net/nothing"]).says(&["module lookup disabled by GOPROXY=off"]).failed();
}

fn then_anything_after_a_bar(stage: &mut Stage<'_>) {
    build(stage, format!("{}|direct", stage.world.base));
}

fn all_at_once(stage: &mut Stage<'_>) {
    // Twenty commands' worth of modules in one: as a big build asks.
    stage.go.write("work/go.mod", "module example.org/work\n\ngo 1.20\n");
    stage.import(&[
        "example.net/beta",
        "example.net/deprecated",
        "example.net/incompat",
        "example.net/major",
        "example.net/major/v2",
        "example.net/nest",
        "example.net/nest/inner",
        "example.net/nogomod",
        "example.net/origin",
        "example.net/pseudo",
        "example.net/retracted",
        "github.com/FixtureCo/UpperCase",
        "gopkg.in/fixture.v2",
    ]);
    stage.go.run(&["mod", "tidy"]).ok();
    stage.go.run(&["build", "./..."]).ok();
    stage.note_module();
}
