-- External tables over the lake's bucket. Run again after a change: the objects stay where they are.
CREATE SCHEMA IF NOT EXISTS `spinal-example.fleet` OPTIONS (location = 'europe-west4');

CREATE OR REPLACE EXTERNAL TABLE `spinal-example.fleet.robot_status` (
  schema_version INT64,
  robot_id STRING,
  stamp TIMESTAMP,
  name STRING,
  level INT64,
  message STRING,
  release STRING,
  model_version STRING,
  `values` JSON
)
WITH PARTITION COLUMNS (date DATE)
OPTIONS (
  format = 'JSON',
  compression = 'GZIP',
  uris = ['gs://spinal-example-lake/telemetry/status/*'],
  hive_partition_uri_prefix = 'gs://spinal-example-lake/telemetry/status',
  require_hive_partition_filter = TRUE,
  max_bad_records = 0
);

-- The catalogue's index; its columns are those of the Parquet files.
CREATE OR REPLACE EXTERNAL TABLE `spinal-example.fleet.cases`
OPTIONS (
  format = 'PARQUET',
  uris = ['gs://spinal-example-lake/catalogue/cases/*.parquet']
);

-- Which robots were stopped most yesterday, and on which model: the cases beside the telemetry.
CREATE OR REPLACE VIEW `spinal-example.fleet.stops_by_model` AS
SELECT date, model_version, COUNT(DISTINCT robot_id) AS robots, COUNTIF(level = 2) AS stopped_reports
FROM `spinal-example.fleet.robot_status`
WHERE name = 'safety_reflex' AND date >= DATE_SUB(CURRENT_DATE(), INTERVAL 30 DAY)
GROUP BY date, model_version;
