// SPDX-License-Identifier: Apache-2.0
// nvme::Controller: Set Features and Get Features.
#include <algorithm>
#include <cstring>

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

std::uint32_t* Controller::stored_feature(Feature feature) {
    const auto at = std::ranges::find(stored_, feature, &Stored::feature);
    return at == stored_.end() ? nullptr : &at->value;
}

AdminResult Controller::set_features(const Command& command, CommandToken token) {
    const auto feature = static_cast<Feature>(command.cdw10 & 0xffU);
    const std::uint32_t value = command.cdw11;
    if ((command.cdw10 & spec::kFeatureSave) != 0) {
        return {.status = refused(StatusCode::FeatureNotSaveable)};
    }
    switch (feature) {
        case Feature::NumberOfQueues:
            return set_queue_count(value);
        case Feature::AsyncEventConfiguration:
            event_config_ = value;
            deliver_events();
            return {};
        case Feature::KeepAliveTimer: {
            constexpr std::uint32_t kStepMs = 100;
            constexpr std::uint32_t kMaxMs = 24U * 3600U * 1000U;
            if (value > kMaxMs) {
                return {.status = refused(StatusCode::KeepAliveInvalid)};
            }
            options_.keep_alive_ms = (value + kStepMs - 1) / kStepMs * kStepMs;
            start_keep_alive();
            return {};
        }
        case Feature::VolatileWriteCache:
            // The volume decides; it cannot be switched off here.
            return (value & 1U) != 0 && !discovery()
                       ? AdminResult{}
                       : AdminResult{.status = refused(StatusCode::FeatureNotChangeable)};
        case Feature::Arbitration:
        case Feature::PowerManagement:
        case Feature::TemperatureThreshold:
        case Feature::ErrorRecovery:
        case Feature::WriteAtomicity: {
            if (discovery()) {
                return {.status = refused(StatusCode::InvalidField)};
            }
            *stored_feature(feature) = value;
            return {};
        }
        case Feature::InterruptCoalescing:
            if (!pcie()) {
                break;
            }
            // It is advice: the entries of one turn have one interrupt anyway.
            *stored_feature(feature) = value & 0xffffU;
            return {};
        case Feature::InterruptVectorConfiguration:
            return set_vector(value);
        case Feature::HostIdentifier:
            // Over fabrics Connect sets it (NVM Express Base 2.0, Host Identifier).
            return {.status = refused(pcie() ? StatusCode::InvalidField
                                             : StatusCode::CommandSequenceError)};
        case Feature::ReservationNotificationMask:
        case Feature::ReservationPersistence:
            if (pcie()) {
                break;
            }
            return set_reservation_feature(command, token);
        case Feature::HostBehaviorSupport:
            break;
    }
    return {.status = refused(StatusCode::InvalidField)};
}

AdminResult Controller::set_queue_count(std::uint32_t value) const {
    if (discovery()) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    if (io_queues_ > 0) {
        return {.status = refused(StatusCode::CommandSequenceError)};
    }
    if ((value & 0xffffU) == 0xffffU || (value >> 16U) == 0xffffU) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    const auto all = static_cast<std::uint16_t>(options_.max_io_queues);
    return {.dw0 = spec::number_of_queues(all, all)};
}

AdminResult Controller::set_vector(std::uint32_t value) {
    const std::uint32_t vector = value & spec::kInterruptVectorMask;
    if (!pcie() || vector >= options_.vectors) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    not_coalesced_[vector] = (value & spec::kCoalescingDisable) != 0;
    return {};
}

AdminResult Controller::get_features(const Command& command, std::span<std::byte> data) const {
    const auto feature = static_cast<Feature>(command.cdw10 & 0xffU);
    const auto select = static_cast<spec::FeatureSelect>((command.cdw10 >> 8U) & 7U);
    if (select == spec::FeatureSelect::Supported) {
        std::ranges::fill(data, std::byte{0});
        const bool of_namespace = feature == Feature::ReservationNotificationMask ||
                                  feature == Feature::ReservationPersistence;
        return {.dw0 = (feature == Feature::VolatileWriteCache ? 0U : spec::kFeatureChangeable) |
                       (of_namespace ? spec::kFeatureOfNamespace : 0U)};
    }
    switch (feature) {
        case Feature::NumberOfQueues: {
            if (discovery()) {
                break;
            }
            const auto all = static_cast<std::uint16_t>(options_.max_io_queues);
            return {.dw0 = spec::number_of_queues(all, all)};
        }
        case Feature::AsyncEventConfiguration:
            return {.dw0 = event_config_};
        case Feature::KeepAliveTimer:
            return {.dw0 = options_.keep_alive_ms};
        case Feature::VolatileWriteCache:
            return discovery() ? AdminResult{.status = refused(StatusCode::InvalidField)}
                               : AdminResult{.dw0 = 1};
        case Feature::InterruptVectorConfiguration: {
            const std::uint32_t vector = command.cdw11 & spec::kInterruptVectorMask;
            if (!pcie() || vector >= options_.vectors) {
                break;
            }
            return {.dw0 = vector | (not_coalesced_[vector] ? spec::kCoalescingDisable : 0U)};
        }
        case Feature::HostIdentifier:
            if (pcie()) {
                break;
            }
            CHECK(data.size() == options_.host_id.size());
            std::memcpy(data.data(), options_.host_id.data(), data.size());
            return {};
        case Feature::ReservationNotificationMask:
        case Feature::ReservationPersistence:
            if (pcie()) {
                break;
            }
            return get_reservation_feature(command);
        case Feature::Arbitration:
        case Feature::PowerManagement:
        case Feature::TemperatureThreshold:
        case Feature::ErrorRecovery:
        case Feature::WriteAtomicity:
        case Feature::InterruptCoalescing: {
            const auto at = std::ranges::find(stored_, feature, &Stored::feature);
            const bool other_kind = feature == Feature::InterruptCoalescing && !pcie();
            if (discovery() || other_kind || at == stored_.end()) {
                break;
            }
            return {.dw0 = at->value};
        }
        case Feature::HostBehaviorSupport:
            break;
    }
    return {.status = refused(StatusCode::InvalidField)};
}

}  // namespace remora::nvme
