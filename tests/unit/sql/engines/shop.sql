-- A small shop, in SQL that SQLite, DuckDB and PostgreSQL all take.
CREATE TABLE customer (
  id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, city VARCHAR(40), joined DATE NOT NULL, discount DOUBLE PRECISION
);
CREATE TABLE product (
  id INTEGER PRIMARY KEY, code VARCHAR(4) NOT NULL, title VARCHAR(40) NOT NULL, category VARCHAR(20),
  price NUMERIC(8, 2) NOT NULL, stock INTEGER
);
CREATE TABLE purchase (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id), ordered_at TIMESTAMP NOT NULL,
  status VARCHAR(10) NOT NULL
);
CREATE TABLE line (
  purchase_id INTEGER NOT NULL REFERENCES purchase (id), product_id INTEGER NOT NULL REFERENCES product (id),
  quantity INTEGER NOT NULL, PRIMARY KEY (purchase_id, product_id)
);
INSERT INTO customer VALUES
  (1, 'Anna', 'Bern', '2022-03-01', 0.05), (2, 'anders', 'Oslo', '2023-05-01', NULL),
  (3, 'Bruno', NULL, '2023-05-02', 0.1), (4, 'Chen', 'Bern', '2021-12-31', 0.25),
  (5, 'Dalia', 'Cairo', '2024-02-29', NULL), (6, 'Ana', NULL, '2022-03-01', 0.05);
INSERT INTO product VALUES
  (1, '1', 'Lamp', 'home', 24.50, 7), (2, '02', 'Chair', 'home', 80.00, 3), (3, 'A3', 'Pen', 'office', 1.25, 200),
  (4, '4', 'Ink', 'office', 9.99, NULL), (5, '5', 'Map', NULL, 12.00, 0), (6, '6', 'Desk', 'office', 120.00, 3);
INSERT INTO purchase VALUES
  (1, 1, '2024-01-05 10:00:00', 'paid'), (2, 1, '2024-01-05 18:30:00', 'open'), (3, 2, '2023-12-31 23:59:59', 'paid'),
  (4, 4, '2024-12-31 09:00:00', 'paid'), (5, 4, '2024-06-15 12:00:00', 'void'), (6, 5, '2025-01-01 00:00:00', 'open'),
  (7, 4, '2024-06-15 08:15:00', 'paid');
INSERT INTO line VALUES
  (1, 1, 2), (1, 3, 10), (2, 3, 5), (3, 2, 1), (3, 1, 1), (4, 6, 1), (4, 3, 20), (5, 4, 3), (6, 1, 1), (7, 4, 1);
