// SPDX-License-Identifier: Apache-2.0
// nvme::Controller: what it does about reservations: notices, their log and mask, and the feature
// that makes reservations survive a restart.
#include <algorithm>
#include <cstring>

#include "core/byte_reader.h"
#include "nvme/controller.h"

namespace remora::nvme {

namespace {

using spec::Command;
using spec::Feature;
using spec::StatusCode;

std::uint16_t refused(StatusCode code) {
    return spec::status_field(code, true);
}

}  // namespace

void Controller::reservation_changed(std::uint32_t nsid, spec::ReservationNotice type) {
    if (ready() && reservation_log_.add(nsid, type)) {
        reservation_notice_.pending = true;
        deliver_events();
    }
}

/// One page of the log, into `data`, which was zeroed.
std::uint16_t Controller::reservation_log(std::uint64_t offset,
                                          std::span<std::byte> data,
                                          bool retain) {
    const spec::ReservationNotificationLog page = reservation_log_.front();
    if (offset > sizeof(page)) {
        return refused(StatusCode::InvalidField);
    }
    const auto bytes = core::as_bytes_of(page).subspan(static_cast<std::size_t>(offset));
    std::memcpy(data.data(), bytes.data(), std::min(data.size(), bytes.size()));
    if (!retain) {
        reservation_log_.pop();
        reservation_notice_.masked = false;
        // A host that reads on until there is nothing more needs not be told again.
        reservation_notice_.pending = reservation_notice_.pending && !reservation_log_.empty();
        deliver_events();
    }
    return 0;
}

/// NVM Express Base 2.0, Reservation Notification Mask and Reservation Persistence: of a namespace,
/// or of all when they are set.
AdminResult Controller::set_reservation_feature(const Command& command, CommandToken token) {
    const std::uint32_t nsid = command.nsid;
    const bool all = nsid == spec::kBroadcastNsid;
    if (discovery()) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    const Namespace* found = subsystem_->find(nsid);
    if (!all && found == nullptr) {
        return {.status = refused(StatusCode::InvalidNamespace)};
    }
    if (static_cast<Feature>(command.cdw10 & 0xffU) == Feature::ReservationPersistence) {
        const bool persist = (command.cdw11 & spec::kPersistThroughPowerLoss) != 0;
        if (!all && !found->can_persist) {
            return {.status = refused(StatusCode::InvalidField)};
        }
        transport_->persist_reservations(token, nsid, persist);
        return {.pending = true};
    }
    const std::uint32_t last = all ? subsystem_->identity().max_namespaces : nsid;
    for (std::uint32_t one = all ? 1 : nsid; one <= last; ++one) {
        if (subsystem_->find(one) != nullptr) {
            reservation_log_.set_mask(one, command.cdw11);
        }
    }
    return {};
}

AdminResult Controller::get_reservation_feature(const Command& command) const {
    if (discovery() || command.nsid == spec::kBroadcastNsid) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    const Namespace* found = subsystem_->find(command.nsid);
    if (found == nullptr) {
        return {.status = refused(StatusCode::InvalidNamespace)};
    }
    if (static_cast<Feature>(command.cdw10 & 0xffU) == Feature::ReservationNotificationMask) {
        return {.dw0 = reservation_log_.mask(command.nsid)};
    }
    return found->can_persist
               ? AdminResult{.dw0 = found->persist ? spec::kPersistThroughPowerLoss : 0U}
               : AdminResult{.status = refused(StatusCode::InvalidField)};
}

}  // namespace remora::nvme
