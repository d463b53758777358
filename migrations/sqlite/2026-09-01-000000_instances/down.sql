DROP TABLE droplets;
DROP TABLE counters;
DROP TABLE instances;
