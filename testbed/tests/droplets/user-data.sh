#!/usr/bin/env bash
# What the tests of the testbed set a droplet up with: an engine behind nginx, with TLS and a password, and a heartbeat
# that is quick, so that its loss is seen soon. Images have all packages.
set -euo pipefail

metadata=http://169.254.169.254/metadata/v1
name=$(curl -fsS $metadata/hostname)
public=$(curl -fsS $metadata/interfaces/public/0/ipv4/address)
private=$(curl -fsS $metadata/interfaces/private/0/ipv4/address)

mkdir -p /etc/docker
echo '{"live-restore": true}' >/etc/docker/daemon.json
systemctl reload docker

htpasswd -bBc -C 4 /etc/nginx/engine.htpasswd docker s3cret
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$name" \
  -addext "subjectAltName=IP:$public,IP:$private" -keyout /etc/nginx/engine.key -out /etc/nginx/engine.crt
usermod -aG docker www-data
cat >/etc/nginx/conf.d/engine.conf <<'NGINX'
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream engine { server unix:/var/run/docker.sock; }
server {
  listen 2376 ssl;
  ssl_certificate /etc/nginx/engine.crt;
  ssl_certificate_key /etc/nginx/engine.key;
  auth_basic engine;
  auth_basic_user_file /etc/nginx/engine.htpasswd;
  client_max_body_size 0;
  location / {
    proxy_pass http://engine;
    proxy_http_version 1.1;
    proxy_set_header Host docker;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 3600s;
  }
}
NGINX
mkdir -p /etc/systemd/system/nginx.service.d
printf '[Service]\nRestart=always\nRestartSec=1\n' >/etc/systemd/system/nginx.service.d/restart.conf

cat >/usr/local/bin/heartbeat <<BEAT
#!/usr/bin/env bash
while :; do
  timeout 2 redis-cli -h 10.118.0.1 SET server:$name '{"Name":"$name","PublicIP":"$public","PrivateIP":"$private"}' EX 3
  sleep 1
done
BEAT
chmod 755 /usr/local/bin/heartbeat
cat >/etc/systemd/system/heartbeat.service <<'UNIT'
[Service]
ExecStart=/usr/local/bin/heartbeat
StandardOutput=null
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl restart nginx
systemctl enable heartbeat
# Not "enable --now": a droplet from a snapshot already beats under the name of the snapshot's.
systemctl restart heartbeat
echo "user-data of $name done"
