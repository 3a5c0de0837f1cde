// SPDX-License-Identifier: Apache-2.0
#include "nvme/status_map.h"

#include "nvme/spec/status.h"

namespace remora::nvme {

using block::Status;
using spec::StatusCode;

std::uint16_t to_nvme(Status status, bool writing) {
    switch (status) {
        case Status::Ok:
            return spec::status_field(StatusCode::Success);
        case Status::IoError:
            return spec::status_field(writing ? StatusCode::WriteFault
                                              : StatusCode::UnrecoveredReadError);
        case Status::OutOfRange:
            return spec::status_field(StatusCode::LbaOutOfRange, true);
        case Status::InvalidRequest:
            return spec::status_field(StatusCode::InvalidField, true);
        case Status::Unsupported:
            return spec::status_field(StatusCode::InvalidOpcode, true);
        case Status::ReadOnly:
            return spec::status_field(StatusCode::NamespaceWriteProtected, true);
        case Status::NoSpace:
            return spec::status_field(StatusCode::CapacityExceeded);
        case Status::PathError:
            return spec::status_field(StatusCode::InternalPathError);
        case Status::Aborted:
            return spec::status_field(StatusCode::AbortRequested);
        case Status::NoResources:
            return spec::status_field(StatusCode::NamespaceNotReady);
        case Status::DataCorrupt:
            return spec::status_field(StatusCode::GuardCheckError);
    }
    return spec::status_field(StatusCode::InternalError);
}

std::uint16_t to_nvme(const block::Request& request) {
    if (request.status == Status::Ok) {
        return 0;
    }
    if (request.nvme_status != 0) {
        return request.nvme_status;
    }
    return to_nvme(request.status, request.opcode != block::Opcode::Read);
}

Status from_nvme(std::uint16_t status_field) {
    switch (spec::status_code(status_field)) {
        case StatusCode::Success:
            return Status::Ok;
        case StatusCode::LbaOutOfRange:
            return Status::OutOfRange;
        case StatusCode::InvalidField:
        case StatusCode::InvalidSglSegment:
        case StatusCode::DataSglLengthInvalid:
        case StatusCode::SglTypeInvalid:
        case StatusCode::SglOffsetInvalid:
        case StatusCode::CommandIdConflict:
        case StatusCode::CommandSequenceError:
            return Status::InvalidRequest;
        case StatusCode::InvalidOpcode:
            return Status::Unsupported;
        case StatusCode::NamespaceWriteProtected:
            return Status::ReadOnly;
        case StatusCode::CapacityExceeded:
            return Status::NoSpace;
        case StatusCode::NamespaceNotReady:
        case StatusCode::CommandInterrupted:
        case StatusCode::ConnectControllerBusy:
            return Status::NoResources;
        case StatusCode::AbortRequested:
        case StatusCode::AbortedSqDeletion:
        case StatusCode::AbortedByHost:
            return Status::Aborted;
        case StatusCode::GuardCheckError:
        case StatusCode::ApplicationTagError:
        case StatusCode::ReferenceTagError:
            return Status::DataCorrupt;
        case StatusCode::InternalPathError:
        case StatusCode::AnaPersistentLoss:
        case StatusCode::AnaInaccessible:
        case StatusCode::AnaTransition:
        case StatusCode::ControllerPathError:
        case StatusCode::HostPathError:
            return Status::PathError;
        case StatusCode::DataTransferError:
        case StatusCode::InternalError:
        case StatusCode::FailedFusedCommand:
        case StatusCode::MissingFusedCommand:
        case StatusCode::InvalidNamespace:
        case StatusCode::HostIdInconsistent:
        case StatusCode::KeepAliveExpired:
        case StatusCode::KeepAliveInvalid:
        case StatusCode::TransientTransportError:
        case StatusCode::ReservationConflict:
        case StatusCode::AbortLimitExceeded:
        case StatusCode::AsyncEventLimitExceeded:
        case StatusCode::InvalidLogPage:
        case StatusCode::FeatureNotSaveable:
        case StatusCode::FeatureNotChangeable:
        case StatusCode::FeatureNotNamespaceSpecific:
        case StatusCode::ConnectIncompatibleFormat:
        case StatusCode::ConnectInvalidParameters:
        case StatusCode::ConnectRestartDiscovery:
        case StatusCode::ConnectInvalidHost:
        case StatusCode::ConnectInvalidQueueType:
        case StatusCode::DiscoverRestart:
        case StatusCode::AuthenticationRequired:
        case StatusCode::WriteFault:
        case StatusCode::UnrecoveredReadError:
        case StatusCode::CompareFailure:
        case StatusCode::AccessDenied:
            break;
    }
    return Status::IoError;  // also of a code that this build does not name
}

}  // namespace remora::nvme
