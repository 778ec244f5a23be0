"""What is known about PX4's topics: which ones matter by default, and what their fields are measured in."""

import re

# Topics that are played unless all are asked for. A topic of the log that is not here is left out.
CURATED = frozenset(
    {
        "airspeed_validated",
        "battery_status",
        "cpuload",
        "distance_sensor",
        "estimator_status",
        "failsafe_flags",
        "home_position",
        "input_rc",
        "manual_control_setpoint",
        "mission_result",
        "sensor_baro",
        "sensor_gps",
        "system_power",
        "vehicle_acceleration",
        "vehicle_air_data",
        "vehicle_angular_velocity",
        "vehicle_attitude",
        "vehicle_command",
        "vehicle_global_position",
        "vehicle_gps_position",
        "vehicle_imu_status",
        "vehicle_land_detected",
        "vehicle_local_position",
        "vehicle_local_position_setpoint",
        "vehicle_magnetometer",
        "vehicle_status",
        "wind",
    }
)

# UCUM units by `topic.field` (indices left out); the first pattern that matches the whole name decides.
_UNITS: tuple[tuple[str, str], ...] = (
    (r"(sensor_gps|vehicle_gps_position)\.(lat|lon)", "10*-7.deg"),
    (r"(sensor_gps|vehicle_gps_position)\.(alt|alt_ellipsoid)", "mm"),
    (r".*\.(latitude_deg|longitude_deg|ref_lat|ref_lon)", "deg"),
    (r"(vehicle_global_position(_groundtruth)?|home_position)\.(lat|lon)", "deg"),
    (
        r"(vehicle_global_position(_groundtruth)?|home_position)\.(alt|alt_ellipsoid|delta_alt)",
        "m",
    ),
    (r".*\.(altitude_msl_m|altitude_ellipsoid_m|baro_alt_meter|terrain_alt|ref_alt|dist_bottom|eph|epv)", "m"),
    (r"vehicle_local_position(_setpoint|_groundtruth)?\.(x|y|z|delta_xy|delta_z|hagl_min|hagl_max)", "m"),
    (r"vehicle_local_position(_setpoint|_groundtruth)?\.(v[xyz]|z_deriv|delta_v\w+|ev[hv]|vxy_max|vz_max)", "m/s"),
    (r"vehicle_local_position(_setpoint|_groundtruth)?\.(a[xyz]|acceleration)", "m/s2"),
    (r"vehicle_local_position(_setpoint|_groundtruth)?\.(heading|unaided_heading|delta_heading|yaw)", "rad"),
    (r"vehicle_local_position_setpoint\.yawspeed", "rad/s"),
    (r"home_position\.[xyz]", "m"),
    (r"home_position\.yaw", "rad"),
    (r".*\.(vel_m_s|vel_[ned]_m_s|s_variance_m_s|indicated_airspeed_m_s|calibrated_airspeed_m_s|true_\w*_m_s)", "m/s"),
    (r"(sensor_gps|vehicle_gps_position)\.(cog_rad|heading|heading_offset|heading_accuracy|c_variance_rad)", "rad"),
    (r"wind\.windspeed_(north|east)", "m/s"),
    (r"battery_status\.(voltage_\w+|max_cell_voltage_delta|nominal_voltage)", "V"),
    (r"battery_status\.(current_\w+)", "A"),
    (r"battery_status\.discharged_mah", "mA.h"),
    (r"battery_status\.(full_charge_capacity_wh|remaining_capacity_wh)", "W.h"),
    (r"battery_status\.(remaining|scale)", "1"),
    (r"battery_status\.time_remaining_s", "s"),
    (r"battery_status\.temperature", "Cel"),
    (r"battery_status\.capacity", "mA.h"),
    (r"system_power\.(voltage|sensors3v3)\w*", "V"),
    (r"cpuload\.(load|ram_usage)", "1"),
    (r"(sensor_baro\.pressure|vehicle_air_data\.baro_pressure_pa)", "Pa"),
    (r"(sensor_baro\.temperature|vehicle_air_data\.baro_temp_celcius)", "Cel"),
    (r"vehicle_air_data\.rho", "kg/m3"),
    (r"(vehicle_acceleration\.xyz|sensor_accel\.[xyz]|sensor_combined\.accelerometer_m_s2)", "m/s2"),
    (r"(vehicle_angular_velocity\.xyz|sensor_gyro\.[xyz]|sensor_combined\.gyro_rad)", "rad/s"),
    (r"vehicle_angular_velocity\.xyz_derivative", "rad/s2"),
    (r"(sensor_accel|sensor_gyro|sensor_mag)\.temperature", "Cel"),
    (r"(vehicle_magnetometer\.magnetometer_ga|sensor_mag\.[xyz])", "G"),
    (r"vehicle_imu_status\.(temperature_accel|temperature_gyro)", "Cel"),
    (r"vehicle_imu_status\.(\w+_rate_hz)", "Hz"),
    (r"vehicle_imu_status\.(mean_accel)", "m/s2"),
    (r"vehicle_imu_status\.(mean_gyro)", "rad/s"),
    (r"vehicle_attitude\w*\.(q|q_d|delta_q_reset)", "1"),
    (r"vehicle_attitude_setpoint\.(roll|pitch|yaw)_body", "rad"),
    (r"vehicle_attitude_setpoint\.yaw_sp_move_rate", "rad/s"),
    (r"vehicle_rates_setpoint\.(roll|pitch|yaw)", "rad/s"),
    (r"distance_sensor\.(min_distance|max_distance|current_distance)", "m"),
    (r"estimator_status\.(pos_horiz_accuracy|pos_vert_accuracy)", "m"),
    (r"estimator_status\.time_slip", "s"),
    (r"esc_status\.esc\.esc_rpm", "{rpm}/min"),
    (r"esc_status\.esc\.esc_voltage", "V"),
    (r"esc_status\.esc\.esc_current", "A"),
    (r"esc_status\.esc\.esc_temperature", "Cel"),
    (r".*\.(timestamp\w*|\w+_timestamp|time_utc_usec|armed_time|takeoff_time)", "us"),
)
_COMPILED = tuple((re.compile(pattern), unit) for pattern, unit in _UNITS)


def unit_of(topic: str, field: str) -> str | None:
    """UCUM code of a field's unit; None where nothing is known. `field` may have indices, as in `q[0]`."""
    name = topic + "." + re.sub(r"\[\d+\]", "", field)
    return next((unit for pattern, unit in _COMPILED if pattern.fullmatch(name)), None)
