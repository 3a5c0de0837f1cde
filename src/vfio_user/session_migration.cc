// SPDX-License-Identifier: Apache-2.0
// The messages by which a client moves the function to another server.
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/probe.h"
#include "vfio_user/session.h"

namespace remora::vfio_user {

template <typename T>
Session::Outcome Session::answer_feature(DeviceFeature request, const T& data) {
    request.argsz = static_cast<std::uint32_t>(sizeof(request) + sizeof(data));
    const std::span<std::byte> to = connection_.reply_payload();
    std::memcpy(to.data(), &request, sizeof(request));
    std::memcpy(to.data() + sizeof(request), &data, sizeof(data));
    return done(sizeof(request) + sizeof(data));
}

Session::Outcome Session::feature(const Message& message) {
    DeviceFeature request;
    std::span<const std::byte> data;
    if (!message.read(request, data) || request.argsz < sizeof(request)) {
        return refused(EINVAL);
    }
    const std::uint32_t flags = request.flags;
    const std::uint32_t number = flags & feature_flags::kNumberMask;
    const bool get = (flags & feature_flags::kGet) != 0;
    const bool set = (flags & feature_flags::kSet) != 0;
    if (number != kFeatureMigration && number != kFeatureDeviceState) {
        return refused(EOPNOTSUPP);
    }
    if ((flags & feature_flags::kProbe) != 0) {
        const bool able = !set || number == kFeatureDeviceState;
        return able ? answer(request) : refused(EINVAL);
    }
    if (get == set || (set && number == kFeatureMigration)) {
        return refused(EINVAL);
    }
    if (set) {
        return change_state(request, data);
    }
    if (number == kFeatureMigration) {
        MigrationFlags able;
        able.flags = kMigrationStopCopy;
        return answer_feature(request, able);
    }
    DeviceStateChange now;
    now.state = static_cast<std::uint32_t>(migration_.state());
    return answer_feature(request, now);
}

Session::Outcome Session::change_state(const DeviceFeature& request,
                                       std::span<const std::byte> data) {
    DeviceStateChange wanted;
    core::ByteReader reader(data);
    if (!reader.read(wanted)) {
        return refused(EINVAL);
    }
    const auto changed = migration_.change(wanted.state);
    if (!changed) {
        return refused(changed.error());
    }
    if (*changed == Migration::Progress::Halting) {
        REMORA_COVER("vfio-user: a function is halted under requests");
        waiting_ = Waiting::Halt;
        return {.kind = Outcome::Kind::Wait};
    }
    return answer_feature(request, wanted);
}

void Session::on_halted() {
    CHECK(std::exchange(waiting_, Waiting::No) == Waiting::Halt);
    const auto finished = migration_.finish();
    DeviceFeature request;
    DeviceStateChange wanted;
    core::ByteReader reader(connection_.message().payload());
    CHECK(reader.read(request) && reader.read(wanted));
    resume(finished ? answer_feature(request, wanted) : refused(finished.error()));
}

Session::Outcome Session::read_state(const Message& message) {
    MigrationData wanted;
    if (!message.read(wanted) || wanted.argsz < sizeof(wanted) || wanted.size > kMaxTransferBytes) {
        return refused(EINVAL);
    }
    const auto bytes = migration_.read(wanted.size);
    if (!bytes) {
        return refused(bytes.error());
    }
    wanted.argsz = static_cast<std::uint32_t>(sizeof(wanted) + bytes->size());
    wanted.size = static_cast<std::uint32_t>(bytes->size());
    const std::span<std::byte> to = connection_.reply_payload();
    std::memcpy(to.data(), &wanted, sizeof(wanted));
    std::ranges::copy(*bytes, to.begin() + sizeof(wanted));
    return done(sizeof(wanted) + bytes->size());
}

Session::Outcome Session::write_state(const Message& message) {
    MigrationData given;
    std::span<const std::byte> data;
    if (!message.read(given, data) || given.size != data.size()) {
        return refused(EINVAL);
    }
    const auto written = migration_.write(data);
    return written ? done() : refused(written.error());
}

}  // namespace remora::vfio_user
