//! Settings that another process judges, and the data directory of settings that nobody can use.

use super::*;

#[test]
fn what_is_sent_makes_the_same_settings_and_holds_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modgate.toml");
    fs::write(&path, "[private]\npatterns = ['corp.example.com']\n[owners.a]\nmax_bytes = '1GiB'\n").unwrap();
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    let variables = [("MODGATE_PRIVATE__PUBLIC", "corp.example.com/open"), ("MODGATE_TOKEN", "mg_secret"), ("MODGATE_CONFIG", "/none")];
    let sent = serde_json::to_string(&Written::read(&flags, &environment(&variables)).unwrap()).unwrap();
    assert!(!sent.contains("mg_secret"), "{sent}");
    let judged = serde_json::from_str::<Written>(&sent).unwrap().judge().unwrap();
    let loaded = load(&flags, &environment(&variables)).unwrap().config;
    assert_eq!(judged.private.patterns, loaded.private.patterns);
    assert_eq!(judged.private.public, loaded.private.public);
    assert_eq!(judged.owners.keys().collect::<Vec<_>>(), loaded.owners.keys().collect::<Vec<_>>());
    fs::write(&path, "[private]\npaterns = []\n").unwrap();
    let told = Written::read(&flags, &environment(&[])).unwrap().judge().unwrap_err().to_string();
    assert!(told.contains("modgate.toml:2: private.paterns: unknown key"), "{told}");
}

#[test]
fn the_data_directory_is_known_of_settings_that_are_wrong_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modgate.toml");
    let at = |text: &str, flag: Option<&str>, variables: &[(&str, &str)]| {
        fs::write(&path, text).unwrap();
        let flags = Flags { config: Some(path.clone()), data_dir: flag.map(Into::into), ..Flags::default() };
        data_dir(&flags, &environment(variables)).unwrap()
    };
    let wrong = "data_dir = 'data'\n[cache]\nmax_size = 'much'\n";
    assert_eq!(at(wrong, None, &[]), dir.path().join("data"));
    assert_eq!(at(wrong, None, &[("MODGATE_DATA_DIR", "/variable")]), Path::new("/variable"));
    assert_eq!(at(wrong, Some("/flag"), &[("MODGATE_DATA_DIR", "/variable")]), Path::new("/flag"));
    assert_eq!(at("[cache]\nmax_size = 'much'\n", None, &[]), Path::new("/var/lib/modgate"));
}

#[test]
fn where_the_file_does_not_tell_the_data_directory_the_default_is_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modgate.toml");
    let variable = [("MODGATE_CONFIG", path.to_str().unwrap())];
    let named = Flags { config: Some(path.clone()), ..Flags::default() };
    let told = || {
        let of_variable = data_dir(&Flags::default(), &environment(&variable));
        assert_eq!(of_variable, data_dir(&named, &environment(&[])));
        let with_variable = data_dir(&named, &environment(&[("MODGATE_DATA_DIR", "/variable")]));
        assert_eq!(with_variable.as_deref(), Some(Path::new("/variable")));
        let flags = Flags { data_dir: Some("/flag".into()), ..named.clone() };
        assert_eq!(data_dir(&flags, &environment(&[])).as_deref(), Some(Path::new("/flag")));
        of_variable
    };
    assert_eq!(told(), None, "a file that is not there");
    let hidden = ["data_dir = 'data'\nno TOML", "data_dir = 1", "data_dri = 'data'", "[server]\ndata_dir = 'data'"];
    for text in hidden {
        fs::write(&path, text).unwrap();
        assert_eq!(told(), None, "{text}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(told(), None, "a file that cannot be read");
}
