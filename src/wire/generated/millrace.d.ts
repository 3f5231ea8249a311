import * as $protobuf from "protobufjs";
import Long = require("long");

/** Namespace millrace. */
export namespace millrace {

    /** Namespace v1. */
    namespace v1 {

        /**
         * Properties of an EventBatch.
         * @deprecated Use millrace.v1.EventBatch.$Properties instead.
         */
        interface IEventBatch extends millrace.v1.EventBatch.$Properties {
        }

        /** Represents an EventBatch. */
        class EventBatch {

            /**
             * Constructs a new EventBatch.
             * @param [properties] Properties to set
             */
            constructor(properties?: millrace.v1.EventBatch.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** EventBatch type. */
            type: string;

            /** EventBatch source. */
            source: string;

            /** EventBatch events. */
            events: millrace.v1.Event.$Properties[];

            /** EventBatch entryId. */
            entryId: string;

            /**
             * Creates a new EventBatch instance using the specified properties.
             * @param [properties] Properties to set
             * @returns EventBatch instance
             */
            static create(properties: millrace.v1.EventBatch.$Shape): millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape;
            static create(properties?: millrace.v1.EventBatch.$Properties): millrace.v1.EventBatch;

            /**
             * Encodes the specified EventBatch message. Does not implicitly {@link millrace.v1.EventBatch.verify|verify} messages.
             * @param message EventBatch message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: millrace.v1.EventBatch.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Encodes the specified EventBatch message, length delimited. Does not implicitly {@link millrace.v1.EventBatch.verify|verify} messages.
             * @param message EventBatch message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encodeDelimited(message: millrace.v1.EventBatch.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an EventBatch message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape} EventBatch
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape;

            /**
             * Decodes an EventBatch message from the specified reader or buffer, length delimited.
             * @param reader Reader or buffer to decode from
             * @returns {millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape} EventBatch
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decodeDelimited(reader: ($protobuf.Reader|Uint8Array)): millrace.v1.EventBatch & millrace.v1.EventBatch.$Shape;

            /**
             * Verifies an EventBatch message.
             * @param message Plain object to verify
             * @returns `null` if valid, otherwise the reason why it is not
             */
            static verify(message: { [k: string]: any }): (string|null);

            /**
             * Creates an EventBatch message from a plain object. Also converts values to their respective internal types.
             * @param object Plain object
             * @returns EventBatch
             */
            static fromObject(object: { [k: string]: any }): millrace.v1.EventBatch;

            /**
             * Creates a plain object from an EventBatch message. Also converts values to other types if specified.
             * @param message EventBatch
             * @param [options] Conversion options
             * @returns Plain object
             */
            static toObject(message: millrace.v1.EventBatch, options?: $protobuf.IConversionOptions): { [k: string]: any };

            /**
             * Converts this EventBatch to JSON.
             * @returns JSON object
             */
            toJSON(): { [k: string]: any };

            /**
             * Gets the type url for EventBatch
             * @param [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns The type url
             */
            static getTypeUrl(prefix?: string): string;
        }

        namespace EventBatch {

            /** Properties of an EventBatch. */
            interface $Properties {

                /** EventBatch type */
                type?: (string|null);

                /** EventBatch source */
                source?: (string|null);

                /** EventBatch events */
                events?: (millrace.v1.Event.$Properties[]|null);

                /** EventBatch entryId */
                entryId?: (string|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an EventBatch. */
            type $Shape = millrace.v1.EventBatch.$Properties;
        }

        /**
         * Properties of an Event.
         * @deprecated Use millrace.v1.Event.$Properties instead.
         */
        interface IEvent extends millrace.v1.Event.$Properties {
        }

        /** Represents an Event. */
        class Event {

            /**
             * Constructs a new Event.
             * @param [properties] Properties to set
             */
            constructor(properties?: millrace.v1.Event.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Event id. */
            id: string;

            /** Event subject. */
            subject: string;

            /** Event data. */
            data: Uint8Array;

            /** Event timeMs. */
            timeMs: (number|Long);

            /** Event source. */
            source: string;

            /** Event schema. */
            schema: number;

            /** Event position. */
            position: number;

            /** Event type. */
            type: string;

            /** Event extensions. */
            extensions: { [k: string]: string };

            /** Event timeNanos. */
            timeNanos: number;

            /**
             * Creates a new Event instance using the specified properties.
             * @param [properties] Properties to set
             * @returns Event instance
             */
            static create(properties: millrace.v1.Event.$Shape): millrace.v1.Event & millrace.v1.Event.$Shape;
            static create(properties?: millrace.v1.Event.$Properties): millrace.v1.Event;

            /**
             * Encodes the specified Event message. Does not implicitly {@link millrace.v1.Event.verify|verify} messages.
             * @param message Event message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: millrace.v1.Event.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Encodes the specified Event message, length delimited. Does not implicitly {@link millrace.v1.Event.verify|verify} messages.
             * @param message Event message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encodeDelimited(message: millrace.v1.Event.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Event message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {millrace.v1.Event & millrace.v1.Event.$Shape} Event
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): millrace.v1.Event & millrace.v1.Event.$Shape;

            /**
             * Decodes an Event message from the specified reader or buffer, length delimited.
             * @param reader Reader or buffer to decode from
             * @returns {millrace.v1.Event & millrace.v1.Event.$Shape} Event
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decodeDelimited(reader: ($protobuf.Reader|Uint8Array)): millrace.v1.Event & millrace.v1.Event.$Shape;

            /**
             * Verifies an Event message.
             * @param message Plain object to verify
             * @returns `null` if valid, otherwise the reason why it is not
             */
            static verify(message: { [k: string]: any }): (string|null);

            /**
             * Creates an Event message from a plain object. Also converts values to their respective internal types.
             * @param object Plain object
             * @returns Event
             */
            static fromObject(object: { [k: string]: any }): millrace.v1.Event;

            /**
             * Creates a plain object from an Event message. Also converts values to other types if specified.
             * @param message Event
             * @param [options] Conversion options
             * @returns Plain object
             */
            static toObject(message: millrace.v1.Event, options?: $protobuf.IConversionOptions): { [k: string]: any };

            /**
             * Converts this Event to JSON.
             * @returns JSON object
             */
            toJSON(): { [k: string]: any };

            /**
             * Gets the type url for Event
             * @param [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns The type url
             */
            static getTypeUrl(prefix?: string): string;
        }

        namespace Event {

            /** Properties of an Event. */
            interface $Properties {

                /** Event id */
                id?: (string|null);

                /** Event subject */
                subject?: (string|null);

                /** Event data */
                data?: (Uint8Array|null);

                /** Event timeMs */
                timeMs?: (number|Long|null);

                /** Event source */
                source?: (string|null);

                /** Event schema */
                schema?: (number|null);

                /** Event position */
                position?: (number|null);

                /** Event type */
                type?: (string|null);

                /** Event extensions */
                extensions?: ({ [k: string]: string }|null);

                /** Event timeNanos */
                timeNanos?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Event. */
            type $Shape = millrace.v1.Event.$Properties;
        }

        /**
         * Properties of a ParkedEvent.
         * @deprecated Use millrace.v1.ParkedEvent.$Properties instead.
         */
        interface IParkedEvent extends millrace.v1.ParkedEvent.$Properties {
        }

        /** Represents a ParkedEvent. */
        class ParkedEvent {

            /**
             * Constructs a new ParkedEvent.
             * @param [properties] Properties to set
             */
            constructor(properties?: millrace.v1.ParkedEvent.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** ParkedEvent event. */
            event: Uint8Array;

            /** ParkedEvent type. */
            type: string;

            /** ParkedEvent entryId. */
            entryId: string;

            /** ParkedEvent index. */
            index: number;

            /** ParkedEvent position. */
            position: number;

            /** ParkedEvent attempts. */
            attempts: number;

            /** ParkedEvent firstFailedMs. */
            firstFailedMs: (number|Long);

            /** ParkedEvent lastFailedMs. */
            lastFailedMs: (number|Long);

            /** ParkedEvent history. */
            history: millrace.v1.Attempt.$Properties[];

            /** ParkedEvent isolate. */
            isolate: boolean;

            /** ParkedEvent eventId. */
            eventId: string;

            /** ParkedEvent subject. */
            subject: string;

            /** ParkedEvent waitingSinceMs. */
            waitingSinceMs: (number|Long);

            /** ParkedEvent batchSource. */
            batchSource: Uint8Array;

            /**
             * Creates a new ParkedEvent instance using the specified properties.
             * @param [properties] Properties to set
             * @returns ParkedEvent instance
             */
            static create(properties: millrace.v1.ParkedEvent.$Shape): millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape;
            static create(properties?: millrace.v1.ParkedEvent.$Properties): millrace.v1.ParkedEvent;

            /**
             * Encodes the specified ParkedEvent message. Does not implicitly {@link millrace.v1.ParkedEvent.verify|verify} messages.
             * @param message ParkedEvent message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: millrace.v1.ParkedEvent.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Encodes the specified ParkedEvent message, length delimited. Does not implicitly {@link millrace.v1.ParkedEvent.verify|verify} messages.
             * @param message ParkedEvent message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encodeDelimited(message: millrace.v1.ParkedEvent.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a ParkedEvent message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape} ParkedEvent
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape;

            /**
             * Decodes a ParkedEvent message from the specified reader or buffer, length delimited.
             * @param reader Reader or buffer to decode from
             * @returns {millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape} ParkedEvent
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decodeDelimited(reader: ($protobuf.Reader|Uint8Array)): millrace.v1.ParkedEvent & millrace.v1.ParkedEvent.$Shape;

            /**
             * Verifies a ParkedEvent message.
             * @param message Plain object to verify
             * @returns `null` if valid, otherwise the reason why it is not
             */
            static verify(message: { [k: string]: any }): (string|null);

            /**
             * Creates a ParkedEvent message from a plain object. Also converts values to their respective internal types.
             * @param object Plain object
             * @returns ParkedEvent
             */
            static fromObject(object: { [k: string]: any }): millrace.v1.ParkedEvent;

            /**
             * Creates a plain object from a ParkedEvent message. Also converts values to other types if specified.
             * @param message ParkedEvent
             * @param [options] Conversion options
             * @returns Plain object
             */
            static toObject(message: millrace.v1.ParkedEvent, options?: $protobuf.IConversionOptions): { [k: string]: any };

            /**
             * Converts this ParkedEvent to JSON.
             * @returns JSON object
             */
            toJSON(): { [k: string]: any };

            /**
             * Gets the type url for ParkedEvent
             * @param [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns The type url
             */
            static getTypeUrl(prefix?: string): string;
        }

        namespace ParkedEvent {

            /** Properties of a ParkedEvent. */
            interface $Properties {

                /** ParkedEvent event */
                event?: (Uint8Array|null);

                /** ParkedEvent type */
                type?: (string|null);

                /** ParkedEvent entryId */
                entryId?: (string|null);

                /** ParkedEvent index */
                index?: (number|null);

                /** ParkedEvent position */
                position?: (number|null);

                /** ParkedEvent attempts */
                attempts?: (number|null);

                /** ParkedEvent firstFailedMs */
                firstFailedMs?: (number|Long|null);

                /** ParkedEvent lastFailedMs */
                lastFailedMs?: (number|Long|null);

                /** ParkedEvent history */
                history?: (millrace.v1.Attempt.$Properties[]|null);

                /** ParkedEvent isolate */
                isolate?: (boolean|null);

                /** ParkedEvent eventId */
                eventId?: (string|null);

                /** ParkedEvent subject */
                subject?: (string|null);

                /** ParkedEvent waitingSinceMs */
                waitingSinceMs?: (number|Long|null);

                /** ParkedEvent batchSource */
                batchSource?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a ParkedEvent. */
            type $Shape = millrace.v1.ParkedEvent.$Properties;
        }

        /**
         * Properties of an Attempt.
         * @deprecated Use millrace.v1.Attempt.$Properties instead.
         */
        interface IAttempt extends millrace.v1.Attempt.$Properties {
        }

        /** Represents an Attempt. */
        class Attempt {

            /**
             * Constructs a new Attempt.
             * @param [properties] Properties to set
             */
            constructor(properties?: millrace.v1.Attempt.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Attempt atMs. */
            atMs: (number|Long);

            /** Attempt attempt. */
            attempt: number;

            /** Attempt name. */
            name: string;

            /** Attempt message. */
            message: string;

            /** Attempt cause. */
            cause: string;

            /**
             * Creates a new Attempt instance using the specified properties.
             * @param [properties] Properties to set
             * @returns Attempt instance
             */
            static create(properties: millrace.v1.Attempt.$Shape): millrace.v1.Attempt & millrace.v1.Attempt.$Shape;
            static create(properties?: millrace.v1.Attempt.$Properties): millrace.v1.Attempt;

            /**
             * Encodes the specified Attempt message. Does not implicitly {@link millrace.v1.Attempt.verify|verify} messages.
             * @param message Attempt message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: millrace.v1.Attempt.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Encodes the specified Attempt message, length delimited. Does not implicitly {@link millrace.v1.Attempt.verify|verify} messages.
             * @param message Attempt message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encodeDelimited(message: millrace.v1.Attempt.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Attempt message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {millrace.v1.Attempt & millrace.v1.Attempt.$Shape} Attempt
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): millrace.v1.Attempt & millrace.v1.Attempt.$Shape;

            /**
             * Decodes an Attempt message from the specified reader or buffer, length delimited.
             * @param reader Reader or buffer to decode from
             * @returns {millrace.v1.Attempt & millrace.v1.Attempt.$Shape} Attempt
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decodeDelimited(reader: ($protobuf.Reader|Uint8Array)): millrace.v1.Attempt & millrace.v1.Attempt.$Shape;

            /**
             * Verifies an Attempt message.
             * @param message Plain object to verify
             * @returns `null` if valid, otherwise the reason why it is not
             */
            static verify(message: { [k: string]: any }): (string|null);

            /**
             * Creates an Attempt message from a plain object. Also converts values to their respective internal types.
             * @param object Plain object
             * @returns Attempt
             */
            static fromObject(object: { [k: string]: any }): millrace.v1.Attempt;

            /**
             * Creates a plain object from an Attempt message. Also converts values to other types if specified.
             * @param message Attempt
             * @param [options] Conversion options
             * @returns Plain object
             */
            static toObject(message: millrace.v1.Attempt, options?: $protobuf.IConversionOptions): { [k: string]: any };

            /**
             * Converts this Attempt to JSON.
             * @returns JSON object
             */
            toJSON(): { [k: string]: any };

            /**
             * Gets the type url for Attempt
             * @param [prefix] Custom type url prefix, defaults to `"type.googleapis.com"`
             * @returns The type url
             */
            static getTypeUrl(prefix?: string): string;
        }

        namespace Attempt {

            /** Properties of an Attempt. */
            interface $Properties {

                /** Attempt atMs */
                atMs?: (number|Long|null);

                /** Attempt attempt */
                attempt?: (number|null);

                /** Attempt name */
                name?: (string|null);

                /** Attempt message */
                message?: (string|null);

                /** Attempt cause */
                cause?: (string|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Attempt. */
            type $Shape = millrace.v1.Attempt.$Properties;
        }
    }
}
