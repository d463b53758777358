# shellcheck shell=bash
# Owns the private database servers of the tests and the measurements: one MariaDB and one PostgreSQL on free loopback
# ports, with their data in a directory of ours. Needs common.sh and packages.sh. Must not touch any other server.
#
# With GETAREDIS_TEST_MYSQL_SERVER=/path/to/mysqld that program takes the place of MariaDB's; it may be one of MySQL.
#
# Each server's data is made once, as a template that is at rest; the servers run on copies, and so can a test's own
# (tests/databases does that). Their settings lie beside the data, so that everybody starts them alike.

databases_user=getaredis databases_password=test

need_databases() {
  if [[ -z ${GETAREDIS_TEST_MYSQL_SERVER:-} ]]; then
    need_packages mariadbd=mariadb-server mariadb-install-db=mariadb-server mariadb=mariadb-client
  fi
  postgres_bin >/dev/null || install_packages postgresql
  postgres_bin >/dev/null || fail "the package postgresql is installed, but initdb is still missing; reinstall it with: apt-get install --reinstall postgresql"
}

# postgres_bin: prints the directory of PostgreSQL's programs; Debian keeps them off the PATH. The newest wins.
postgres_bin() {
  local found
  found=$(find /usr/lib/postgresql -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1)
  [[ -n $found ]] || found=$(command -v initdb) || return 1
  dirname "$found"
}

# databases_start DIR: makes the templates in DIR and starts the servers. Exports GETAREDIS_TEST_MYSQL and
# GETAREDIS_TEST_POSTGRES (URLs of a user who may do everything), and the same names with _TEMPLATE (directories) and
# _SERVER (programs), of which tests make servers of their own.
databases_start() {
  databases_dir=$1
  mkdir -p "$databases_dir"
  # PostgreSQL refuses to run as root, and its user must be able to come here.
  chmod 711 "$databases_dir"
  export GETAREDIS_TEST_MYSQL_SERVER=${GETAREDIS_TEST_MYSQL_SERVER:-$(command -v mariadbd)}
  local mysql=MySQL
  if mysql_is_mariadb; then mysql=MariaDB; fi
  say "Starting $mysql and PostgreSQL"
  on_exit databases_stop
  mysql_template "$databases_dir/mysql-template" ||
    fail "$mysql's first data cannot be made: $(tail -n 3 "$databases_dir/mysql.log")"
  postgres_template "$databases_dir/postgres-template" || fail "PostgreSQL's first data cannot be made; see $databases_dir/postgres.log"
  local mysql_port postgres_port
  mysql_port=$(free_port) postgres_port=$(free_port)
  mysql_launch "$mysql_port"
  postgres_launch "$postgres_port"
  await_database "$mysql" "$mysql_port" "$mysql_pid" "$databases_dir/mysql.log"
  await_database PostgreSQL "$postgres_port" "$postgres_pid" "$databases_dir/postgres.log"
  export GETAREDIS_TEST_MYSQL=mysql://$databases_user:$databases_password@127.0.0.1:$mysql_port
  export GETAREDIS_TEST_POSTGRES=postgres://$databases_user:$databases_password@127.0.0.1:$postgres_port
  export GETAREDIS_TEST_POSTGRES_SERVER
  GETAREDIS_TEST_POSTGRES_SERVER=$(postgres_bin)/postgres
  export GETAREDIS_TEST_MYSQL_TEMPLATE=$databases_dir/mysql-template
  export GETAREDIS_TEST_POSTGRES_TEMPLATE=$databases_dir/postgres-template
}

# await_database NAME PORT PID LOG
await_database() {
  within 60 listening_or_ended 127.0.0.1 "$2" "$3" || true
  if ended "$3" || ! listening 127.0.0.1 "$2"; then fail "$1 does not start: $(tail -n 3 "$4")"; fi
}

listening_or_ended() { ended "$3" || listening "$1" "$2"; }

mysql_is_mariadb() { [[ $("$GETAREDIS_TEST_MYSQL_SERVER" --version) == *MariaDB* ]]; }

# mysql_template DIR: DIR/data and DIR/my.cnf. What was committed survives a kill, not a power failure.
mysql_template() {
  local dir=$1 user
  user=$(id -un)
  mkdir -p "$dir"
  cat >"$dir/my.cnf" <<CONFIG
[mysqld]
user=$user
bind-address=127.0.0.1
skip-name-resolve
innodb_buffer_pool_size=64M
innodb_flush_log_at_trx_commit=2
max_connections=300
CONFIG
  cat >"$dir/first.sql" <<SQL
CREATE USER '$databases_user'@'%' IDENTIFIED BY '$databases_password';
GRANT ALL ON *.* TO '$databases_user'@'%' WITH GRANT OPTION;
SQL
  if mysql_is_mariadb; then mariadb_first_data "$dir" "$user"; else mysql_first_data "$dir"; fi >"$databases_dir/mysql.log" 2>&1
}

mariadb_first_data() {
  echo innodb_log_file_size=8M >>"$1/my.cnf"
  mariadb-install-db --no-defaults --user="$2" --datadir="$1/data" --auth-root-authentication-method=normal \
    --skip-test-db --skip-name-resolve --innodb-log-file-size=8M &&
    { echo 'FLUSH PRIVILEGES;' && cat "$1/first.sql"; } |
    mariadbd --defaults-file="$1/my.cnf" --datadir="$1/data" --bootstrap
}

# Several may run beside each other, none of them as a package installs it.
mysql_first_data() {
  printf '%s\n' innodb_redo_log_capacity=16M mysqlx=OFF secure_file_priv=NULL >>"$1/my.cnf"
  "$GETAREDIS_TEST_MYSQL_SERVER" --defaults-file="$1/my.cnf" --datadir="$1/data" --initialize-insecure \
    --init-file="$1/first.sql"
}

mysql_launch() {
  cp -a "$databases_dir/mysql-template/data" "$databases_dir/mysql"
  setpriv --pdeathsig KILL setsid "$GETAREDIS_TEST_MYSQL_SERVER" --defaults-file="$databases_dir/mysql-template/my.cnf" \
    --datadir="$databases_dir/mysql" --socket="$databases_dir/mysql.sock" --port="$1" \
    >>"$databases_dir/mysql.log" 2>&1 </dev/null &
  mysql_pid=$!
}

# as_postgres COMMAND [ARG...]: as a user that PostgreSQL accepts.
as_postgres() {
  if ((EUID == 0)); then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi
}

# postgres_template DIR: DIR/data, with its settings in it. As above about kill and power.
postgres_template() {
  local dir=$1 bin
  bin=$(postgres_bin)
  mkdir -p "$dir"
  printf '%s\n' "$databases_password" >"$dir/password"
  if ((EUID == 0)); then chown -R postgres "$dir"; fi
  {
    as_postgres "$bin/initdb" -D "$dir/data" -U "$databases_user" -A scram-sha-256 \
      --pwfile="$dir/password" --locale=C --encoding=UTF8 --wal-segsize=1 --no-sync &&
      as_postgres tee -a "$dir/data/postgresql.conf" <<CONFIG
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = 64MB
max_connections = 200
CONFIG
  } >"$databases_dir/postgres.log" 2>&1
}

postgres_launch() {
  cp -a "$databases_dir/postgres-template/data" "$databases_dir/postgres"
  as_postgres setpriv --pdeathsig KILL setsid "$(postgres_bin)/postgres" -D "$databases_dir/postgres" -p "$1" \
    >>"$databases_dir/postgres.log" 2>&1 </dev/null &
  postgres_pid=$!
}

databases_stop() {
  local pid
  # INT is PostgreSQL's fast shutdown; it would wait for its clients at TERM.
  if [[ -n ${postgres_pid:-} ]]; then kill -INT "$postgres_pid" 2>/dev/null || true; fi
  if [[ -n ${mysql_pid:-} ]]; then kill -TERM "$mysql_pid" 2>/dev/null || true; fi
  for pid in ${postgres_pid:-} ${mysql_pid:-}; do
    within 20 ended "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  mysql_pid='' postgres_pid=''
}
