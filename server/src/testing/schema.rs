//! The schema: migrations, also of a database with rows, and what every table has to say of its site.

use refinery::Target;
use tokio_postgres::Client;

use crate::db::{embedded, tests::TestCluster};

/// The migrations that databases have: whoever changes one of them has a server that does not start there. A new one
/// is a new file, and a new line here.
const LANDED: [(u32, &str, u64); 24] = [
    (1, "people", 17_801_211_931_000_503_596),
    (2, "fleet", 3_796_194_350_748_924_198),
    (3, "sightings", 15_866_218_602_350_167_542),
    (4, "biometrics", 8_108_444_713_025_756_349),
    (5, "recognition", 7_541_382_026_299_735_439),
    (6, "thresholds", 7_732_950_728_102_232_908),
    (7, "students", 3_237_608_413_781_877_624),
    (8, "confusable_pairs", 14_339_909_403_399_576_607),
    (9, "review_queue", 7_367_685_357_574_082_311),
    (10, "review_claims", 15_447_622_820_650_485_261),
    (11, "audits", 1_923_484_995_481_493_861),
    (12, "template_sources", 8_133_576_024_067_639_166),
    (13, "watched_periods", 2_512_383_589_514_352_079),
    (14, "device_states", 17_952_571_831_797_331_202),
    (15, "enrollment_gates", 223_603_944_933_142_095),
    (16, "matches", 14_696_576_783_753_825_499),
    (17, "schedule", 1_106_843_836_675_601_664),
    (18, "calendar_imports", 8_220_949_341_710_900_188),
    (19, "attendance", 7_033_457_693_482_951_404),
    (20, "webhooks", 12_580_087_418_346_814_265),
    (21, "roster_first", 15_704_367_753_182_738_824),
    (22, "warning_mails", 10_773_060_968_656_416_627),
    (24, "other_ways", 18_252_029_492_730_642_742),
    (26, "fewer_notices", 8_538_218_838_679_056),
];
/// What a database of version 5 holds.
const FILLED: (u32, &str) = (5, include_str!("filled.sql"));

/// What belongs to no site.
const GLOBAL: [&str; 5] = ["sites", "users", "user_sessions", "key_epochs", "refinery_schema_history"];
/// Unique without the site: a certificate names a device alone.
const UNIQUE_EVERYWHERE: [&str; 1] = ["devices_id_key"];

/// The tables, without partitions.
const TABLES: &str =
    "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1";

/// All that the schema consists of, a line each.
const CATALOGUE: &str = "
    SELECT format('column %s.%s %s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attstorage, a.attstattarget, pg_get_expr(d.adbin, d.adrelid))
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
    UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
    ORDER BY 1";

async fn lines(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The rows of a table as they were: later migrations add columns, and may fill them.
async fn rows(client: &Client, table: &str, columns: &str) -> Vec<String> {
    lines(client, &format!("SELECT ROW({columns})::text FROM {table} ORDER BY 1")).await
}

#[test]
fn what_databases_have_is_never_changed() {
    let mut found: Vec<(u32, String, u64)> = embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|m| (m.version().try_into().unwrap(), m.name().to_owned(), m.checksum()))
        .collect();
    found.sort_unstable();
    let landed = LANDED.map(|(version, name, checksum)| (version, name.to_owned(), checksum));
    assert_eq!(found, landed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_rows_becomes_what_an_empty_one_becomes_and_keeps_them() {
    let cluster = TestCluster::start().await;
    let mut client = cluster.as_owner().await;
    let (version, filling) = FILLED;
    let runner = || embedded::migrations::runner();
    runner().set_target(Target::Version(version.try_into().unwrap())).run_async(&mut client).await.unwrap();
    client.batch_execute(filling).await.unwrap();
    let mut before = Vec::new();
    for table in lines(&client, TABLES).await {
        let sql = format!(
            "SELECT quote_ident(attname) FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum"
        );
        let columns = lines(&client, &sql).await.join(", ");
        let held = rows(&client, &table, &columns).await;
        assert!(!held.is_empty(), "no row of {table} in filled.sql");
        before.push((table, columns, held));
    }
    runner().run_async(&mut client).await.unwrap();
    for (table, columns, held) in before.iter().filter(|(table, ..)| table != "refinery_schema_history") {
        assert_eq!(&rows(&client, table, columns).await, held, "{table}");
    }

    let empty = TestCluster::start().await;
    let mut fresh = empty.as_owner().await;
    runner().run_async(&mut fresh).await.unwrap();
    assert_eq!(lines(&client, CATALOGUE).await, lines(&fresh, CATALOGUE).await);

    // And what belongs to a site says so.
    let of_sites: Vec<String> =
        lines(&fresh, TABLES).await.into_iter().filter(|table| !GLOBAL.contains(&table.as_str())).collect();
    for table in &of_sites {
        let sql = format!(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass
             AND attname = 'site_id' AND attnotnull"
        );
        assert_eq!(lines(&fresh, &sql).await, ["site_id"], "{table} does not say whose it is");
        let sql = format!(
            "SELECT i.indexrelid::regclass::text FROM pg_index i
             WHERE i.indrelid = '{table}'::regclass AND i.indisunique AND NOT EXISTS (
                 SELECT FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attname = 'site_id')"
        );
        let everywhere = lines(&fresh, &sql).await;
        let surprising: Vec<_> =
            everywhere.iter().filter(|index| !UNIQUE_EVERYWHERE.contains(&index.as_str())).collect();
        assert!(surprising.is_empty(), "{table} is unique in all sites together: {surprising:?}");
        let sql = format!(
            "SELECT format('%s to %s', conname, confrelid::regclass) FROM pg_constraint
             WHERE contype = 'f' AND conrelid = '{table}'::regclass AND confrelid::regclass::text = ANY($1)
                 AND NOT EXISTS (SELECT FROM unnest(conkey, confkey) AS k (mine, theirs)
                     JOIN pg_attribute m ON m.attrelid = conrelid AND m.attnum = k.mine
                     JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = k.theirs
                     WHERE m.attname = 'site_id' AND t.attname = 'site_id')"
        );
        let crossing: Vec<String> =
            fresh.query(&sql, &[&of_sites]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert!(crossing.is_empty(), "a row of {table} can refer to another site's: {crossing:?}");
    }
}
