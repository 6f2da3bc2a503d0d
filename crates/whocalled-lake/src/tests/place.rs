//! Places that are not a lake, or not one of ours.

use whocalled_types::ErrorKind;

use super::*;

#[test]
fn locations_are_told_apart() {
    let remote = LakeLocation::parse("abfss://logs@account.dfs.core.windows.net/lake").unwrap();
    assert_eq!(remote.to_string(), "abfss://logs@account.dfs.core.windows.net/lake");
    assert!(remote.as_directory().is_none());
    assert_eq!(remote.join("audit").unwrap().to_string(), "abfss://logs@account.dfs.core.windows.net/lake/audit");
    let local = LakeLocation::parse("some/lake").unwrap();
    assert_eq!((local.to_string(), local.as_directory()), ("some/lake".to_owned(), Some(Path::new("some/lake"))));
    for refused in
        ["", "s3://bucket/lake", "https://account.blob.core.windows.net/logs?sig=secret", "az://c/p?sig=secret"]
    {
        let error = LakeLocation::parse(refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Abort);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let options = StorageOptions::default().set("account_key", "secret");
    assert!(!format!("{options:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_holds_something_else_stays_as_it_is() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("holiday.jpg"), b"").unwrap();
    let error = open_or_create(directory.path(), Failpoints::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Foreign { found, .. } if found == "holiday.jpg"), "{error}");
    let error = Lake::open(location(directory.path()), StorageOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

    // A directory named like a table is not yet a table.
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("audit")).unwrap();
    std::fs::write(directory.path().join("audit/report.pdf"), b"").unwrap();
    let error = open_or_create(directory.path(), Failpoints::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Foreign { found, .. } if found == "audit/report.pdf"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_lakes_and_files_in_their_place_are_named() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("none");
    let error = Lake::open(location(&missing), StorageOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(!missing.exists(), "looking for a lake makes none");
    let error = Lake::open(location(directory.path()), StorageOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");

    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = open_or_create(&place, Failpoints::default()).await.unwrap_err();
        assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_a_newer_version_is_left_alone() {
    let directory = TempDir::new().unwrap();
    lake(&directory).await;
    let marker = directory.path().join("lake/whocalled-lake.json");
    std::fs::write(&marker, br#"{"format":2,"created_by":"whocalled 7.0.0","more":[]}"#).unwrap();
    for opened in [
        open_or_create(&directory.path().join("lake"), Failpoints::default()).await,
        Lake::open(location(&directory.path().join("lake")), StorageOptions::default()).await,
    ] {
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::Newer { format: 2, .. }));
        assert!(error.to_string().contains("whocalled 7.0.0"), "{error}");
    }
    std::fs::write(&marker, b"{").unwrap();
    let error = open_or_create(&directory.path().join("lake"), Failpoints::default()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_are_refused() {
    let directory = TempDir::new().unwrap();
    lake(&directory).await;
    let mut specs = specs();
    let mut fields = specs[0].schema.fields().to_vec();
    fields.insert(1, Arc::new(Field::new("tenant_id", DataType::Utf8, true)));
    specs[0].schema = Arc::new(Schema::new(fields));
    let place = location(&directory.path().join("lake"));
    let error = Lake::open_or_create(place, StorageOptions::default(), &specs, now()).await.unwrap_err();
    assert!(error.to_string().contains("column tenant_id is missing in the lake"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_without_a_column_is_refused() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("lake");
    lake(&directory).await;
    // As a version would have made it that did not know the column yet.
    let fields =
        crate::ledger_spec().schema.fields().iter().filter(|it| it.name() != "finding").cloned().collect::<Vec<_>>();
    let older =
        crate::layout::Layout::from(&TableSpec { schema: Arc::new(Schema::new(fields)), ..crate::ledger_spec() });
    std::fs::remove_dir_all(place.join("ledger")).unwrap();
    let storage = crate::location::Storage::connect(&location(&place), &StorageOptions::default()).unwrap();
    older.create(&storage.table("ledger").unwrap(), "ledger").await.unwrap();
    for opened in [
        Lake::open(location(&place), StorageOptions::default()).await,
        open_or_create(&place, Failpoints::default()).await,
    ] {
        let error = opened.unwrap_err();
        assert!(matches!(&error, Error::Schema { table, .. } if table == "ledger"), "{error}");
        assert!(error.to_string().contains("column finding is missing in the lake"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_make_a_lake_at_once_make_one() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("lake");
    let (one, two) =
        tokio::join!(open_or_create(&place, Failpoints::default()), open_or_create(&place, Failpoints::default()));
    let archive = Archive::of(&[("c/a", 3)]);
    archive.convert(&mut one.unwrap()).await.unwrap();
    let mut two = two.unwrap();
    two.recover(now()).await.unwrap();
    assert_holds(&two, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_program_rewrote_is_not_made_worse() {
    let directory = TempDir::new().unwrap();
    let bomb = Bomb::default();
    let mut archive = Archive::of(&[("c/a", 30)]);
    let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
    archive.convert(&mut killed).await.unwrap();
    archive.replace("c/a", 3);
    bomb.arm("decide.after", 0);
    archive.convert(&mut killed).await.unwrap_err();

    let mut foreign = open(&directory).await;
    let table = foreign.table_mut(Table::Audit).unwrap();
    let gone = table.adds().unwrap().iter().map(|add| crate::data_file::remove(add, true, now()).into()).collect();
    let operation = deltalake::protocol::DeltaOperation::Delete { predicate: None };
    table.commit(gone, operation, None, now()).await.unwrap();

    let error = open(&directory).await.recover(now()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore the table to its last version with that file"), "{error}");
}
